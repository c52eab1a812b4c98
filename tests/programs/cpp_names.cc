// C++ names, exceptions, containers.
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace shop {
struct Item {
    std::string name;
    int price;
};

class Store {
public:
    __attribute__((noinline)) void fill(int n);
    __attribute__((noinline)) int total(bool strict) const;

private:
    std::vector<std::unique_ptr<Item>> items;
    std::map<std::string, int> index;
};

void Store::fill(int n)
{
    for (int i = 0; i < n; i++) {
        items.push_back(std::make_unique<Item>(Item{"a rather long name of an item " + std::to_string(i), i}));
        index[items.back()->name] = i;
    }
}

int Store::total(bool strict) const
{
    int sum = 0;
    for (auto &item : items) {
        if (strict && item->price > 900)
            throw std::out_of_range(item->name);
        sum += item->price;
    }
    return sum;
}
}

static shop::Store store;

int main()
{
    store.fill(1000);
    std::cout << store.total(false) << "\n";
    try {
        store.total(true);
    } catch (const std::exception &error) {
        std::cout << "caught " << error.what() << "\n";
    }
    std::cerr << "to stderr\n";
    return 4;
}
