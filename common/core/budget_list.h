/* Every budget, once: its name, its default and what belongs to it, from which the enum, the configuration's keys, the
 * metrics, `status` and the documentation come. Included several times, each time with the macros it needs. No header
 * guard on purpose. Thread: any (constant).
 *
 * BUDGET_MEMORY(id, name, mib, doc)     bytes of memory: the key memory.NAME */
#ifndef BUDGET_MEMORY
#define BUDGET_MEMORY(id, name, mib, doc)
#endif

BUDGET_MEMORY(
    PASS_THROUGH, "pass_through", 256,
    "Downloads that the disk does not take: each is passed on through 8 to 16 MiB of memory, or as many as it "
    "has bytes. Over it a new one is answered 503, and one under way waits for its turn.")

#undef BUDGET_MEMORY
