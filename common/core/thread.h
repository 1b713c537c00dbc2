/* Scheduling hints for the calling thread. If the kernel does not support one or refuses it, nothing changes. Thread:
 * any, each for itself. */
#ifndef ENTREPOT_CORE_THREAD_H
#define ENTREPOT_CORE_THREAD_H

#include "common/core/base.h"

/* For a thread that works in short bursts while others wait for it. Asks for short time slices; Linux 6.12 and later
 * then run the thread as soon as it wakes, even if another thread's longer slice has not ended. Its share of the
 * processor stays the same. */
void thread_request_short_slices(void);
/* For a thread that works for some microseconds at a time and takes no lock. Urgent: it runs before all ordinary threads
 * (SCHED_RR), which needs RLIMIT_RTPRIO or CAP_SYS_NICE, or at least has the shortest slices. Not urgent: it has long
 * slices, so that those with short ones run as soon as they wake. May be called again and again. A thread for which
 * somebody else has chosen another policy keeps that. */
void thread_set_urgent(bool urgent);
/* For a thread that does bulk work for which nobody waits: other threads get the processor first. Cannot be undone. */
void thread_lower_priority(void);

#endif
