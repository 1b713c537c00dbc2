/* The table of budgets: name, default size and description. The enum, the configuration keys, the metrics, `status` and
 * the documentation are made from it. The file is included several times, each time with the macros that are needed, so
 * it has no header guard. Thread: any (constant).
 *
 * BUDGET_MEMORY(id, name, mib, doc)     bytes of memory; its configuration key is memory.NAME */
#ifndef BUDGET_MEMORY
#define BUDGET_MEMORY(id, name, mib, doc)
#endif

BUDGET_MEMORY(
    PASS_THROUGH, "pass_through", 256,
    "Downloads that the disk does not take: each is passed on through 8 to 16 MiB of memory, or as many as it "
    "has bytes. Over it a new one is answered 503, and one under way waits for its turn.")
BUDGET_MEMORY(
    ANSWERS, "answers", 64,
    "Answers of sources to small questions (what a tag points to, whether there is a blob), while they come and "
    "while they are remembered. Over it nothing more is remembered, then a question is answered 503.")
BUDGET_MEMORY(LISTS, "lists", 128,
              "Lists of tags, referrers and repositories, from their source until the client has taken them. Over it a "
              "list is answered 503.")
BUDGET_MEMORY(JSON, "json", 256,
              "Lists of others while they are read as JSON. Over it a list is answered 503; one that alone would take "
              "96 MiB is refused as its source's failure.")

#undef BUDGET_MEMORY
