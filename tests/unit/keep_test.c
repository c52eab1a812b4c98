#include "agent/keep.h"

#include "agent/process.h"
#include "agent/profile.h"
#include "base/arena.h"
#include "tests/unit/help.h"

static struct keep_file removed[5000];
static size_t n_removed;

static void note(const struct keep_file *file)
{
    removed[n_removed++] = *file;
}

static void start(uint64_t snapshots, uint64_t bytes)
{
    arena_set_cap(64 << 20, 0);
    process_init();
    keep_init(snapshots, bytes, note);
}

/* A snapshot of `n_files` files of `bytes` bytes each. */
static void write_snapshot(uint32_t number, size_t n_files, off_t bytes)
{
    for (size_t i = 0; i < n_files; i++) {
        const struct stat st = {.st_size = bytes, .st_ino = number * 10000 + i};
        keep_add(number, &profiles[0], 77, &st);
    }
    keep_trim();
}

TEST_ALONE(the_oldest_goes_when_there_is_one_too_many)
{
    start(3, 1 << 30);
    for (uint32_t number = 1; number <= 10; number++)
        write_snapshot(number, 2, 10);
    CHECK_INT(n_removed, 14, "files of seven snapshots");
    for (size_t i = 0; i < n_removed; i++) {
        CHECK_INT(removed[i].snapshot, i / 2 + 1, "oldest first");
        CHECK_INT(removed[i].time_s, 77, "time of the name");
        CHECK(removed[i].profile == &profiles[0]);
    }
}

TEST_ALONE(bytes_count_and_the_newest_always_stays)
{
    start(100, 100);
    for (uint32_t number = 1; number <= 3; number++)
        write_snapshot(number, 1, 40);
    CHECK_INT(n_removed, 1, "40 + 40 fit");
    write_snapshot(4, 1, 1000);
    CHECK_INT(n_removed, 3, "all older ones");
    write_snapshot(5, 1, 1000);
    CHECK_INT(removed[3].snapshot, 4, "the newest alone");
}

TEST_ALONE(a_snapshot_of_a_thousand_files_does_not_remove_its_own)
{
    start(2, 1 << 30);
    for (uint32_t number = 1; number <= 4; number++)
        write_snapshot(number, 1000, 1);
    CHECK_INT(n_removed, 2000, "two snapshots");
    CHECK_INT(removed[1999].snapshot, 2, "the second");
    CHECK_INT(removed[1999].inode, 20999, "its last file");
}

TEST_ALONE(the_files_of_an_exit_are_remembered_without_memory)
{
    start(1, 1 << 30);
    arena_set_cap(0, 0);
    write_snapshot(1, 60, 10);
    CHECK_INT(n_removed, 0, "one snapshot stays");
    write_snapshot(2, 4, 10);
    CHECK_INT(n_removed, 60, "what was remembered is removed");
    write_snapshot(3, 100, 10);
    CHECK_INT(n_removed, 64, "what could not be remembered stays");
    write_snapshot(4, 1, 10);
    CHECK_INT(n_removed, 124, "60 of 100: four places were the second one's");
}

TEST_ALONE(a_file_is_the_same_by_device_inode_and_time)
{
    struct stat st = {
        .st_dev = 1, .st_ino = 2, .st_mtim = {3, 4}
    };

    start(1, 1 << 30);
    keep_add(1, &profiles[0], 0, &st);
    write_snapshot(2, 1, 1);
    CHECK_INT(n_removed, 1, "removed");
    CHECK(keep_is_same(&removed[0], &st));
    st.st_mtim.tv_nsec = 5;
    CHECK(!keep_is_same(&removed[0], &st));
    st.st_mtim.tv_nsec = 4;
    st.st_ino = 3;
    CHECK(!keep_is_same(&removed[0], &st));
    st.st_ino = 2;
    st.st_dev = 2;
    CHECK(!keep_is_same(&removed[0], &st));
}

TEST_ALONE(a_forked_child_begins_with_nothing)
{
    start(1, 1 << 30);
    write_snapshot(1, 1, 1);
    const pid_t child = fork();
    if (child == 0) {
        write_snapshot(2, 1, 1);
        _exit(n_removed != 0);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0, "the parent's file stays");
    write_snapshot(2, 1, 1);
    CHECK_INT(n_removed, 1, "its own parent may");
}
