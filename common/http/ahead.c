/* Bytes that are not in the page cache are read by a work pool before the serving loop sends them, so that no disk
 * keeps the loop's other connections waiting. Thread: serving loop; reading in the work pool. */
#include "common/http/server_private.h"
#include "common/core/alloc.h"
#include "common/core/offload.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

#define WINDOW ((int64_t)2 * 1024 * 1024) /* looked at, or read, at a time */
#define STEP ((int64_t)1024 * 1024)       /* between the bytes that are looked at */
#define READ_BYTES ((size_t)64 * 1024)

struct ahead {
    struct offload offload;
    struct http_conn *conn; /* NULL: gone; its loop's */
    struct open_file *file;
    int64_t from, end;
};

/* True if reading this byte would wait for a disk; false where the file system cannot tell. */
static bool is_cached(int fd, int64_t at) {
    char byte;
    struct iovec iov = {&byte, 1};
    return preadv2(fd, &iov, 1, at, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

static bool all_cached(int fd, int64_t from, int64_t end) {
    for (int64_t at = from; at < end; at += STEP) {
        if (!is_cached(fd, at)) return false;
    }
    return is_cached(fd, end - 1);
}

/* Work pool. A failure to read is noticed again when the bytes are sent. */
static void read_ahead(struct offload *o) {
    struct ahead *a = container_of(o, struct ahead, offload);
    char bytes[READ_BYTES];
    posix_fadvise(open_file_fd(a->file), a->from, a->end - a->from, POSIX_FADV_WILLNEED);
    for (int64_t at = a->from; at < a->end;) {
        size_t want = a->end - at < (int64_t)sizeof(bytes) ? (size_t)(a->end - at) : sizeof(bytes);
        ssize_t n = pread(open_file_fd(a->file), bytes, want, at);
        if (n < 0 && disk_is_bad(-errno)) open_file_fail(a->file, -errno);
        if (n <= 0) break;
        at += n;
    }
}

static void have_read(struct offload *o) {
    struct ahead *a = container_of(o, struct ahead, offload);
    struct http_conn *c = a->conn;
    if (c) {
        c->ahead = NULL;
        c->share->now_ms = c->sent_ms = loop_enter(c->share->loop) / 1000;
        STAILQ_FIRST(&c->out)->warm_end = a->end; /* looked at once: if it leaves the cache again, the loop waits */
        reply_queue_turn(c);
    }
    open_file_unref(a->file);
    free(a);
}

bool ahead_ready(struct http_conn *c, struct seg *s) {
    struct workpool *reads = c->share->server->cfg.reads;
    if (c->ahead) return false;
    if (!reads || s->file_off < s->warm_end) return true;
    int64_t end = s->file_off + (s->file_len < WINDOW ? s->file_len : WINDOW);
    if (all_cached(open_file_fd(s->file), s->file_off, end)) {
        s->warm_end = end;
        return true;
    }
    struct ahead *a = xcalloc(1, sizeof(*a));
    *a = (struct ahead){.offload = {.run = read_ahead, .back = have_read, .whose = c->whose},
                        .conn = c,
                        .file = open_file_ref(s->file),
                        .from = s->file_off,
                        .end = end};
    c->ahead = a;
    offload_start(&a->offload, reads, c->share->loop);
    return false;
}

void ahead_forget(struct http_conn *c) {
    if (c->ahead) c->ahead->conn = NULL;
    c->ahead = NULL;
}
