/* Scheduling hints for the calling thread. If the kernel does not support one or refuses it, nothing changes. Thread:
 * any, each for itself. */
#ifndef ENTREPOT_CORE_THREAD_H
#define ENTREPOT_CORE_THREAD_H

#include "common/core/base.h"

/* For a thread that works in short bursts while others wait for it. Asks for short time slices; Linux 6.12 and later
 * then run the thread as soon as it wakes, even if another thread's slice has not ended. Its share of the processor
 * stays the same. */
void thread_request_short_slices(void);
/* For a thread that does bulk work for which nobody waits: other threads get the processor first. Cannot be undone. */
void thread_lower_priority(void);

#endif
