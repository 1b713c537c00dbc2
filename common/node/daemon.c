/* Signals by way of an eventfd the control loop watches, and the service manager's messages. The handler counts by
 * itself, so a second SIGTERM works though the loop is stuck. Thread: main (control loop); the handler runs anywhere.
 */
#include "common/node/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/node/notify.h"

struct daemon {
    struct daemon_events events;
    void *arg;
    struct event *wake;
    struct timer watchdog;
    int64_t watchdog_ms;
    bool stopping;
    struct sigaction old_term, old_int, old_quit, old_hup;
};

/* What the handler may touch. */
static int signal_fd = -1;
static volatile sig_atomic_t stop_signals, reload_signals;

static void on_signal(int sig) {
    int saved = errno;
    if (sig == SIGHUP) {
        reload_signals = 1;
    } else {
        if (stop_signals) _exit(128 + sig);
        stop_signals = 1;
    }
    uint64_t one = 1;
    /* Only a full counter can fail, and then the loop is awake already. */
    ssize_t n _unused_ = write(signal_fd, &one, sizeof one);
    errno = saved;
}

static void reload(struct daemon *d) {
    char lines[64];
    snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_us());
    notify_send(lines);
    d->events.reload(d->arg);
    notify_send("READY=1");
}

static void on_wake(evutil_socket_t fd, short what _unused_, void *arg) {
    struct daemon *d = arg;
    uint64_t count;
    ssize_t n _unused_ = read(fd, &count, sizeof count);
    if (reload_signals) {
        reload_signals = 0;
        if (!d->stopping) reload(d);
    }
    if (stop_signals && !d->stopping) {
        d->stopping = true;
        notify_send("STOPPING=1\nSTATUS=stopping: requests under way are finished");
        d->events.stop(d->arg);
    }
}

static void on_watchdog(void *arg) {
    struct daemon *d = arg;
    if (!d->events.alive || d->events.alive(d->arg)) notify_send("WATCHDOG=1");
    timer_set(&d->watchdog, d->watchdog_ms);
}

unsigned long daemon_prepare(void) {
    umask(077);
    /* A stray signal ends nothing; SIGHUP has no meaning before there is a loop; instead of SIGXFSZ, the write says
     * EFBIG, which is one kind of no space. */
    static const int ignored[] = {SIGPIPE, SIGHUP,  SIGUSR1, SIGUSR2, SIGALRM,  SIGVTALRM,
                                  SIGPROF, SIGXFSZ, SIGIO,   SIGPWR,  SIGSTKFLT};
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    for (int i = SIGRTMIN; i <= SIGRTMAX; i++)
        signal(i, SIG_IGN);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit more = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0) limit = more;
    }
    return limit.rlim_cur;
}

int daemon_new(struct daemon **out, struct loop *control, const struct daemon_events *events, void *arg,
               struct error *err) {
    if (signal_fd >= 0) return error_set(err, ERR_BUSY, "signals are taken already");
    signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (signal_fd < 0) return error_errno(err, "eventfd");
    stop_signals = reload_signals = 0;
    struct daemon *d = xcalloc(1, sizeof *d);
    d->events = *events;
    d->arg = arg;
    d->wake = event_new(loop_base(control), signal_fd, EV_READ | EV_PERSIST, on_wake, d);
    if (!d->wake) out_of_memory();
    if (event_add(d->wake, NULL) < 0) abort();
    timer_init(&d->watchdog, control, on_watchdog, d);
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigfillset(&act.sa_mask);
    sigaction(SIGTERM, &act, &d->old_term);
    sigaction(SIGINT, &act, &d->old_int);
    sigaction(SIGQUIT, &act, &d->old_quit);
    if (!events->reload) act.sa_handler = SIG_IGN;
    sigaction(SIGHUP, &act, &d->old_hup);
    *out = d;
    return 0;
}

void daemon_ready(struct daemon *d, const char *status) {
    char lines[256];
    snprintf(lines, sizeof lines, "READY=1%s%.200s", status ? "\nSTATUS=" : "", status ? status : "");
    notify_send(lines);
    d->watchdog_ms = notify_watchdog_ms();
    if (d->watchdog_ms) on_watchdog(d);
}

void daemon_free(struct daemon *d) {
    if (!d) return;
    sigaction(SIGTERM, &d->old_term, NULL);
    sigaction(SIGINT, &d->old_int, NULL);
    sigaction(SIGQUIT, &d->old_quit, NULL);
    sigaction(SIGHUP, &d->old_hup, NULL);
    event_free(d->wake);
    timer_fini(&d->watchdog);
    close(signal_fd);
    signal_fd = -1;
    free(d);
}
