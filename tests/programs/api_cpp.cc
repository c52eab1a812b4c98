// The API from C++: a class whose objects stand in a profile as long as they live.
#include "../../include/cprof.h"

#include <cstdio>
#include <memory>
#include <vector>

class Session {
  public:
    __attribute__((noinline)) Session() { cprof_profile_add(profile(), this, 1); }
    ~Session() { cprof_profile_remove(profile(), this); }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    static cprof_profile *profile()
    {
        static cprof_profile *made = cprof_profile_new("session");
        return made;
    }
};

static void count(cprof_profile *, void *arg)
{
    ++*static_cast<int *>(arg);
}

__attribute__((noinline)) std::unique_ptr<Session> log_in()
{
    auto session = std::unique_ptr<Session>(new Session);
    return session;
}

int main()
{
    std::vector<std::unique_ptr<Session>> sessions;
    int n = 0;

    for (int i = 0; i < 10; i++)
        sessions.push_back(log_in());
    sessions.resize(4);
    cprof_profiles(count, &n);
    std::printf("active %d, sessions %zu, profiles %s, errno-free %d\n", cprof_active(),
                cprof_profile_count(Session::profile()), n ? "some" : "none",
                cprof_profile_write(nullptr, 1, 0));
    std::fflush(stdout);
    if (cprof_active())
        cprof_snapshot();
    return 0;
}
