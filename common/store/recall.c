/* After the index was made anew, nothing in it says what is hosted until the owner has: a mark beside the index keeps
 * that in mind over restarts, and keeps the evictor from what it might mean. Thread: control. */
#include <errno.h>
#include <fcntl.h>

#include "common/core/log.h"
#include "common/store/store_private.h"

static const char mark[] = "index.db.new";

bool recall_marked(const struct store *s) {
    return faccessat(s->dir_fd, mark, F_OK, 0) == 0;
}

void recall_mark(struct store *s) {
    s->recall_due = true;
    _cleanup_(closep) int fd = openat(s->dir_fd, mark, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) log_warn("index_mark_failed", KV_S("path", mark), KV_S("why", error_name(-errno)));
}

bool store_recall_due(const struct store *s) {
    return s->recall_due;
}

void store_recall_done(struct store *s) {
    if (!s->recall_due) return;
    /* On a disk that takes nothing the mark stays, and it is all said again at the next start. */
    if (writer_sync(s->writer) == 0) unlinkat(s->dir_fd, mark, 0);
    s->recall_due = false;
    space_wake(s);
}
