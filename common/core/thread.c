/* Scheduling of threads (sched_setattr(2), setpriority(2)). Thread: any, each for itself. */
#include "common/core/thread.h"

#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define SHORT_TURN_NS 200000u
#define BULK_NICE 10

/* As in <linux/sched/types.h>, which cannot be included beside <sched.h>. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

void thread_request_short_slices(void) {
    struct attributes a = {.size = sizeof(a)};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) < 0 || a.policy != SCHED_OTHER) return;
    a.flags = 0;
    a.runtime = SHORT_TURN_NS; /* for SCHED_OTHER: the length of its time slice */
    if (syscall(SYS_sched_setattr, 0, &a, 0) < 0) errno = 0;
}

void thread_lower_priority(void) {
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), BULK_NICE) < 0) errno = 0;
}
