/* What the kernel is told about a thread. Each concerns the calling thread. Where the kernel does not know it or
 * refuses, nothing changes. */
#ifndef ENTREPOT_CORE_THREAD_H
#define ENTREPOT_CORE_THREAD_H

#include "common/core/base.h"

/* It works in short bursts and others wait for each: it asks for short turns, which Linux 6.12 and later answer by
 * letting it run at once when it wakes, though another thread's turn is not over. No larger share of the processor. */
void thread_wants_short_turns(void);
/* Its work is in bulk and nobody waits for it: whoever else wants the processor comes first. For good. */
void thread_lower_priority(void);

#endif
