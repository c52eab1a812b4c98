"""What qemu-user cannot do, by test: scripts/check-aarch64 shows these as skipped, with the reason.

Seen with qemu-user 7.2 of Debian 12.  A test that fails there for another reason is no member of this list.
"""

FORK = "qemu-user ignores MADV_WIPEONFORK: a forked child takes itself for a vfork child"
MEMORY = "qemu-user ignores RLIMIT_AS"
EXEC = "qemu-user cannot exec a program of the other machine without binfmt_misc"
VFORK = "qemu-user's vfork is a fork"
SHELL = "the shell that popen() starts is the host's, which cannot load the agent and says so"
COPY = "qemu-user has no process_vm_readv, by which waits in progress are seen"
PLACE = "qemu-user maps an object that comes back at another place"
THREAD = "qemu-user has a thread of its own in every process"
BARE = "hangs or fails under qemu-user without the agent, too"
SLOW = "takes too long under qemu-user"
TIME = "a few percent of a short wait are qemu-user translating: sometimes outside of the tolerance"
SECCOMP = "qemu-user has no seccomp"
MAPS = "qemu-user writes /proc/self/maps itself, without a vdso, and has an unnamed page for signal returns"
SIGNALS = "qemu-user keeps some real-time signals for itself"

CANNOT = {
    "agent_test.profiles_start_with_the_rates_of_the_settings_and_stop": FORK,
    "agent_test.a_disarmed_agent_starts_nothing": FORK,
    "arena_test.what_the_kernel_refuses_is_not_counted_as_used": MEMORY,
    "handles_test.a_forked_child_has_a_table_of_its_own": FORK,
    "keep_test.a_forked_child_begins_with_nothing": FORK,
    "modules_test.a_function_of_libc_lies_in_libc": "qemu-user -L: the library lies elsewhere than the loader says",
    "modules_test.a_plugin_that_comes_back_is_the_same_module": PLACE,
    "process_test.a_forked_child_and_its_child_start_anew": FORK,
    "process_test.a_child_in_its_parents_memory_is_borrowed": FORK,
    "process_test.the_age_counts_from_the_fork": FORK,
    "stack_test.without_room_the_work_is_done_on_a_scratch_stack_and_signals_wait": SIGNALS,
    "stacktab_test.a_plugin_that_comes_and_goes_does_not_make_stacks_for_ever": PLACE,
    "thread_test.a_vfork_child_knows_itself_however_often_it_asks": VFORK,
    "thread_test.a_few_questions_between_the_doubt_and_the_vfork_do_not_end_it": VFORK,
    "thread_test.a_parent_stops_asking": VFORK,
    "thread_test.a_vfork_childs_pid_is_not_taken_for_the_parents": VFORK,
    "thread_test.a_sandbox_that_does_not_tell_who_lives_gets_new_records": SECCOMP,

    "test_api.Labels.test_of_a_thread_stand_at_its_waits_in_progress": COPY,
    "test_api.Files.test_a_thousand_profiles": SLOW,
    "test_api.Values.test_every_moment_of_a_program": FORK,
    "test_api.Refused.test_a_handler_that_interrupted_the_agent_is_told_busy_and_who_has_no_memory_so": MEMORY,
    "test_contention.Conservation.test_of_waits_that_were_given_up_before_the_release": BARE,
    "test_contention.Creations.test_are_counted_by_creator_and_entry_and_failures_are_not": BARE,
    "test_contention.Creations.test_are_not_counted_when_the_profile_is_off": BARE,
    "test_contention.EveryWay.test_to_wait_is_charged_to_its_function_with_its_label": TIME,
    "test_contention.Sampled.test_rate_1ns_is_the_sum_itself": TIME,
    "test_contention.InProgress.test_in_a_handler_during_a_wait_are_both_seen": COPY,
    "test_contention.InProgress.test_in_a_handler_whose_stack_lies_above_the_wait_are_both_seen": COPY,
    "test_contention.InProgress.test_of_a_condition_and_a_semaphore": COPY,
    "test_contention.InProgress.test_of_a_deadlock_shows_both_threads_at_any_rate": COPY,
    "test_contention.InProgress.test_that_a_siglongjmp_left_are_not_shown_with_the_next": COPY,
    "test_contention.InProgress.test_under_deep_frames_show_the_whole_stack": COPY,
    "test_contention.Processes.test_that_are_forked_200_times_during_contention_lock_and_create_threads":
        "qemu-user aborts in some of the children",
    "test_contention.Processes.test_that_share_a_mutex_count_their_own_waits": BARE,
    "test_contention.ReturnCodes.test_of_all_kinds_of_mutexes": BARE,
    "test_contention.Threads.test_100000_that_come_and_go_leave_no_memory_behind": SLOW,
    "test_encoding.Mappings.test_are_the_executable_lines_of_proc_self_maps": MAPS,
    "test_encoding.Mappings.test_begin_with_the_executable_and_keep_the_vdso": MAPS,
    "test_encoding.Mappings.test_hold_addresses_inside_the_calls": "reads x86-64's calls",
    "test_handles.Ways.test_a_forked_child_keeps_them": FORK,
    "test_handles.Ways.test_a_socket_that_is_sent_is_its_receivers": FORK,
    "test_handles.Ways.test_where_a_thread_would_kill_nothing_is_written_and_that_is_said": SECCOMP,
    "test_handles.Ways.test_calls_that_fail_leave_nothing_and_say_the_same": BARE,
    "test_handles.Ways.test_every_kind_of_stream_is_counted_until_it_is_closed": SHELL,
    "test_handles.Ways.test_fcloseall_releases_all": SHELL,
    "test_handles.Ways.test_live_sockets_are_those_of_proc_self_fd": SHELL,
    "test_lifecycle.Cost.test_start_adds_less_than_a_mebibyte": "the memory is qemu-user's, with what it translated",
    "test_lifecycle.Exec.test_a_child_that_execs_has_a_file_of_its_own": EXEC,
    "test_lifecycle.Exec.test_a_failed_spawn_and_system_are_as_bare": EXEC,
    "test_lifecycle.Exec.test_an_exec_starts_anew_under_the_same_pid": EXEC,
    "test_lifecycle.Exec.test_under_a_filter_that_refuses_the_clock_knows_the_time": EXEC,
    "test_lifecycle.FirstCalls.test_work_in_a_child_without_tls": BARE,
    "test_lifecycle.Fork.test_200_children_of_a_multithreaded_parent_start_threads_and_none_hangs":
        "qemu-user aborts in some of the children",
    "test_lifecycle.Fork.test_the_child_writes_its_own_file_with_what_it_inherited": FORK,
    "test_lifecycle.Threads.test_by_the_ten_thousands_do_not_grow_the_agent": SLOW,
    "test_lifecycle.Threads.test_stay_one_when_the_program_has_one": THREAD,
    "test_signal.Choice.test_a_real_time_signal_can_be_chosen": SIGNALS,
    "test_signal.Snapshot.test_of_a_single_threaded_program_is_complete_before_raise_returns": THREAD,
    "test_stacks.Modules.test_of_a_dlopen_churn_keep_their_names_and_cost_little": PLACE,
    "test_stacks.Room.test_a_handler_on_a_disarmed_stack_does_not_enter_the_interrupted_agent":
        "qemu-user has no SS_AUTODISARM",
    "test_thread.Agent.test_thread_is_one_more_with_a_name_and_all_signals_blocked": THREAD,
    "test_thread.Agent.test_thread_is_there_again_in_a_forked_child": FORK,
    "test_thread.Agent.test_thread_stands_aside_when_the_program_changes_its_identity":
        "/proc tells of qemu-user's threads, which keep their identity",
}
for name in ("all_at_once", "curl", "libpq", "openssl", "sqlite", "zlib"):
    CANNOT[f"test_rules.Shipped.test_{name}"] = "the libraries are not there for aarch64"
