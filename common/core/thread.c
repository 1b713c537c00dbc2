/* Scheduling of threads (sched_setattr(2), setpriority(2)). Thread: any, each for itself. */
#include "common/core/thread.h"

#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* What Linux takes is 100 µs to 100 ms. */
#define SHORTEST_SLICE_NS 100000u
#define SHORT_SLICE_NS 200000u
#define LONG_SLICE_NS 10000000u
#define BULK_NICE 10

/* As in <linux/sched/types.h>, which cannot be included beside <sched.h>. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static bool attributes_read(struct attributes *a) {
    *a = (struct attributes){.size = sizeof(*a)};
    if (syscall(SYS_sched_getattr, 0, a, sizeof(*a), 0) == 0) return true;
    errno = 0;
    return false;
}

static bool attributes_set(struct attributes *a) {
    a->flags = 0;
    if (syscall(SYS_sched_setattr, 0, a, 0) == 0) return true;
    errno = 0;
    return false;
}

/* For SCHED_OTHER the runtime is the length of the time slice. */
static void slices_set(struct attributes *a, uint64_t ns) {
    a->policy = SCHED_OTHER;
    a->priority = 0;
    a->runtime = ns;
    (void)attributes_set(a);
}

void thread_request_short_slices(void) {
    struct attributes a;
    if (attributes_read(&a) && a.policy == SCHED_OTHER) slices_set(&a, SHORT_SLICE_NS);
}

void thread_set_urgent(bool urgent) {
    struct attributes a;
    if (!attributes_read(&a)) return;
    bool is_urgent = a.policy == SCHED_RR && a.priority == 1;
    if (!is_urgent && a.policy != SCHED_OTHER) return;
    if (!urgent) {
        slices_set(&a, LONG_SLICE_NS);
        return;
    }
    a.policy = SCHED_RR;
    a.priority = 1;
    a.runtime = 0;
    if (!attributes_set(&a)) slices_set(&a, SHORTEST_SLICE_NS);
}

void thread_lower_priority(void) {
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), BULK_NICE) < 0) errno = 0;
}
