/* Signals and the service manager, each scene in a process of its own that stands in for the daemon. */
#include "common/node/daemon.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/node/notify.h"

static char dir[64], path[96];
static int manager = -1; /* the service manager's end */

struct scene {
    struct loop *control;
    struct daemon *daemon;
    bool hang; /* stop does not end the loop's callback */
    bool keep; /* stop does not end the loop */
    int stops, reloads;
};

static void on_stop(void *arg) {
    struct scene *s = arg;
    s->stops++;
    notify_send("X_STOPPED=1");
    while (s->hang)
        pause();
    if (!s->keep) loop_stop(s->control);
}

static void on_reload(void *arg) {
    struct scene *s = arg;
    s->reloads++;
}

/* Forks a daemon that is ready and waits for signals; its exit status: 40 + stops + 10 * reloads. */
static pid_t daemon_start(struct scene s) {
    pid_t pid = fork();
    if (pid) return pid;
    struct error err = {0};
    static const struct daemon_events events = {.stop = on_stop, .reload = on_reload};
    daemon_prepare();
    s.control = loop_new("control");
    if (daemon_new(&s.daemon, s.control, &events, &s, &err) < 0) _exit(1);
    daemon_ready(s.daemon, "serving");
    loop_run(s.control);
    daemon_free(s.daemon);
    loop_free(s.control);
    _exit(40 + s.stops + 10 * s.reloads);
}

/* The next message, within 10 s. */
static const char *heard(void) {
    static char msg[512];
    struct pollfd p = {.fd = manager, .events = POLLIN};
    if (poll(&p, 1, 10000) != 1) return "(nothing)";
    ssize_t n = recv(manager, msg, sizeof msg - 1, 0);
    msg[n > 0 ? n : 0] = '\0';
    return msg;
}

static int ended(pid_t pid) {
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void sigterm_stops_once_and_the_service_manager_is_told(void **state) {
    (void)state;
    pid_t pid = daemon_start((struct scene){0});
    assert_string_equal(heard(), "READY=1\nSTATUS=serving");
    kill(pid, SIGTERM);
    assert_string_equal(heard(), "STOPPING=1\nSTATUS=stopping: requests under way are finished");
    assert_string_equal(heard(), "X_STOPPED=1");
    assert_int_equal(ended(pid), 41);
}

static void second_signal_ends_even_a_stuck_loop(void **state) {
    (void)state;
    pid_t pid = daemon_start((struct scene){.hang = true});
    heard();
    kill(pid, SIGINT);
    assert_string_equal(heard(), "STOPPING=1\nSTATUS=stopping: requests under way are finished");
    assert_string_equal(heard(), "X_STOPPED=1");
    kill(pid, SIGTERM);
    assert_int_equal(ended(pid), 128 + SIGTERM);
}

static void sighup_reloads_between_reloading_and_ready(void **state) {
    (void)state;
    pid_t pid = daemon_start((struct scene){0});
    heard();
    kill(pid, SIGHUP);
    assert_int_equal(strncmp(heard(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
    assert_string_equal(heard(), "READY=1");
    kill(pid, SIGPIPE); /* ignored */
    kill(pid, SIGTERM);
    assert_string_equal(heard(), "STOPPING=1\nSTATUS=stopping: requests under way are finished");
    heard();
    assert_int_equal(ended(pid), 51);
}

static void sigquit_stops_like_sigterm_and_other_signals_do_nothing(void **state) {
    (void)state;
    pid_t pid = daemon_start((struct scene){0});
    heard();
    static const int stray[] = {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXFSZ, SIGIO, SIGPWR, SIGSTKFLT};
    for (size_t i = 0; i < ARRAY_LEN(stray); i++)
        kill(pid, stray[i]);
    kill(pid, SIGRTMIN);
    kill(pid, SIGRTMAX);
    kill(pid, SIGQUIT);
    assert_string_equal(heard(), "STOPPING=1\nSTATUS=stopping: requests under way are finished");
    assert_string_equal(heard(), "X_STOPPED=1");
    assert_int_equal(ended(pid), 41);
}

/* Before there is a loop, a SIGHUP has nobody to tell. */
static void sighup_during_the_start_does_not_end_the_daemon(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        daemon_prepare();
        raise(SIGHUP);
        _exit(40);
    }
    assert_int_equal(ended(pid), 40);
}

static void the_service_manager_gets_a_watchdog_ping_from_a_live_loop(void **state) {
    (void)state;
    setenv("WATCHDOG_USEC", "40000", 1);
    pid_t pid = daemon_start((struct scene){0});
    heard();
    for (int i = 0; i < 3; i++)
        assert_string_equal(heard(), "WATCHDOG=1");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while (recv(manager, (char[512]){0}, 512, MSG_DONTWAIT) > 0)
        ;
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_watchdog_ms(), 0);
    unsetenv("WATCHDOG_PID");
    assert_int_equal(notify_watchdog_ms(), 20);
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(notify_watchdog_ms(), 0);
}

static void notify_without_a_service_manager_does_nothing(void **state) {
    (void)state;
    static const char *const nowhere[] = {"", "relative", "/nonexistent/socket", "@entrepot-nobody"};
    for (size_t i = 0; i < ARRAY_LEN(nowhere); i++) {
        setenv("NOTIFY_SOCKET", nowhere[i], 1);
        assert_false(notify_send("READY=1"));
    }
    char big[300];
    memset(big, 'x', sizeof big - 1);
    big[0] = '/';
    big[sizeof big - 1] = '\0';
    setenv("NOTIFY_SOCKET", big, 1);
    assert_false(notify_send("READY=1"));
    setenv("NOTIFY_SOCKET", path, 1);
}

static void prepare_raises_descriptors_and_keeps_files_private(void **state) {
    (void)state;
    struct rlimit limit, old;
    mode_t mask = umask(022);
    getrlimit(RLIMIT_NOFILE, &old);
    limit = (struct rlimit){.rlim_cur = 64, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(daemon_prepare(), old.rlim_max);
    assert_int_equal(umask(mask), 077);
    setrlimit(RLIMIT_NOFILE, &old);
}

static int setup(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/entrepot-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/notify", dir);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setenv("NOTIFY_SOCKET", path, 1);
    return bind(manager, (const struct sockaddr *)&at, sizeof at);
}

static int teardown(void **state) {
    (void)state;
    close(manager);
    unlink(path);
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sigterm_stops_once_and_the_service_manager_is_told),
        cmocka_unit_test(second_signal_ends_even_a_stuck_loop),
        cmocka_unit_test(sighup_reloads_between_reloading_and_ready),
        cmocka_unit_test(sigquit_stops_like_sigterm_and_other_signals_do_nothing),
        cmocka_unit_test(sighup_during_the_start_does_not_end_the_daemon),
        cmocka_unit_test(the_service_manager_gets_a_watchdog_ping_from_a_live_loop),
        cmocka_unit_test(notify_without_a_service_manager_does_nothing),
        cmocka_unit_test(prepare_raises_descriptors_and_keeps_files_private),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
