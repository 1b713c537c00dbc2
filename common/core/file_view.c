/* Views of files. When a page cannot be had, the handler of SIGBUS puts zeros in the place of the whole view, so that
 * the read goes on; whoever reads looks afterwards whether the view is broken. Thread: any. */
#include "common/core/file_view.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

static struct sigaction before; /* what SIGBUS did, and still does for every other fault */
static _Thread_local struct file_view *open_view;

/* Within the read that has failed. Returns true if it can go on. */
static bool put_zeros(struct file_view *v, const char *at) {
    if (!v || at < v->bytes || at >= v->bytes + v->len) return false;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    if (mmap(v->bytes, v->len, PROT_READ, flags, -1, 0) == MAP_FAILED) return false;
    v->is_broken = true;
    return true;
}

static void on_bus_error(int sig, siginfo_t *info, void *context) {
    (void)context;
    int saved = errno;
    bool is_fault = info->si_code > 0; /* not sent by a process */
    if (!is_fault || !put_zeros(open_view, info->si_addr)) {
        sigaction(sig, &before, NULL); /* the instruction runs again, and the fault has its usual effect */
        if (!is_fault) raise(sig);
    }
    errno = saved;
}

/* Installed at each view, because others may replace the handler, as cmocka does for each test. */
static void take_bus_errors(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const struct sigaction act = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    struct sigaction now;
    pthread_mutex_lock(&lock);
    if (sigaction(SIGBUS, NULL, &now) < 0) abort();
    bool is_ours = (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error;
    if (!is_ours) {
        before = now;
        if (sigaction(SIGBUS, &act, NULL) < 0) abort();
    }
    pthread_mutex_unlock(&lock);
}

bool file_view_open(struct file_view *v, int fd, int64_t from, size_t len) {
    take_bus_errors();
    assert(!open_view && !v->bytes);
    void *bytes = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, from);
    if (bytes == MAP_FAILED) return false;
    *v = (struct file_view){.bytes = bytes, .from = from, .len = len};
    open_view = v;
    return true;
}

const char *file_view_at(const struct file_view *v, int64_t at, size_t n) {
    if (!v->bytes || at < v->from || at - v->from > (int64_t)v->len || n > v->len - (size_t)(at - v->from)) return NULL;
    return v->bytes + (at - v->from);
}

bool file_view_is_broken(const struct file_view *v) {
    return v->is_broken;
}

void file_view_close(struct file_view *v) {
    if (!v->bytes) return;
    assert(open_view == v);
    open_view = NULL;
    munmap(v->bytes, v->len);
    v->bytes = NULL;
}
