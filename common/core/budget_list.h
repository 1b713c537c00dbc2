/* The table of budgets: name, default size and description. The enum, the configuration keys, the metrics, `status` and
 * the documentation are made from it. The file is included several times, each time with the macros that are needed, so
 * it has no header guard. Thread: any (constant).
 *
 * BUDGET_MEMORY(id, name, mib, least, doc)     bytes of memory; its configuration key is memory.NAME, of at least
 *                                              `least` MiB */
#ifndef BUDGET_MEMORY
#define BUDGET_MEMORY(id, name, mib, least, doc)
#endif

BUDGET_MEMORY(
    PASS_THROUGH, "pass_through", 256, 8,
    "Downloads that do not fit on the disk: each is passed through 8 to 16 MiB of memory, or its size if "
    "that is less. When it is used up, a new download is answered 503, and a running one waits for its turn. No "
    "client takes more than it leaves to others.")
BUDGET_MEMORY(
    ANSWERS, "answers", 64, 8,
    "Answers of sources to small requests (what a tag points to, whether a blob exists), while they arrive and "
    "while they are remembered. When it is used up, the oldest remembered ones are dropped; if none is left, "
    "requests are answered 503.")
BUDGET_MEMORY(LISTS, "lists", 128, 8,
              "Lists of tags, referrers and repositories, until the client has received them, and lists of tags that "
              "are remembered for 3 seconds. When it is used up, the oldest remembered ones are dropped; if none is "
              "left, a list is answered 503.")
BUDGET_MEMORY(
    JSON, "json", 256, 96,
    "Lists and manifests while their JSON is parsed; at least 96 MiB, which is the most that one document may "
    "take. When it is used up, a list is answered 503, and a manifest of more than 16 KiB waits for its turn. A "
    "list that would take more than 96 MiB counts as a failure of its source.")

#undef BUDGET_MEMORY
