/* Whole blobs that did not come by a fill but from a file: checked against their digest while they are copied, then
 * committed like others. Thread: any that may block. */
#include <errno.h>
#include <unistd.h>

#include "common/core/alloc.h"
#include "common/store/store_private.h"

#define PUT_CHUNK (1 * MiB)

static int not_stored(const struct digest *d, int r, struct error *err) {
    char name[DIGEST_STR_MAX];
    error_set(err, r, "storing %s: %s", digest_str(d, name), error_name(r));
    if (r == ERR_NO_SPACE) error_hint(err, "the disk or store.limit is full and nothing more can be evicted");
    return r;
}

/* p has all its bytes, or could not get them (r < 0, and *err says so). */
static int put_end(struct part *p, const struct digest *d, const struct commit_info *info, int r, struct error *err) {
    if (r < 0) {
        part_discard(p);
        return r;
    }
    r = commit_and_wait(p, info);
    return r < 0 ? not_stored(d, r, err) : 0;
}

/* Unlike a fill, whoever stores a whole blob can wait for the evictor. */
static int write_waiting(struct part *p, int64_t at, const void *data, size_t len) {
    for (;;) {
        int r = part_write(p, at, data, len);
        if (r != ERR_NO_SPACE || p->refused || !space_await_evictor(p->store)) return r;
    }
}

static void hash(struct hasher *h, const void *data, size_t len, struct piece_proofs *proofs) {
    if (proofs)
        piece_proofs_update(proofs, h, data, len);
    else
        hasher_update(h, data, len);
}

/* The first size bytes of fd, which must be all: one more is asked for. */
static int copy_all(struct part *p, int fd, const struct commit_info *info, struct hasher *h, char *chunk,
                    struct error *err) {
    int64_t size = info->size;
    for (int64_t at = 0;;) {
        if (p->store->stopping) return error_set(err, ERR_CANCELLED, "this node is stopping: try again once it runs");
        size_t want = size - at < PUT_CHUNK ? (size_t)(size - at) + 1 : PUT_CHUNK;
        ssize_t n = read(fd, chunk, want);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_errno(err, "reading the file to be stored");
        if (n == 0 && at == size) return 0;
        if (n == 0 || at + n > size) {
            return error_set(err, ERR_MISMATCH, "the file has %s than %lld bytes: another program is writing it",
                             n ? "more" : "fewer", (long long)size);
        }
        hash(h, chunk, (size_t)n, info->proofs);
        int r = write_waiting(p, at, chunk, (size_t)n);
        if (r < 0) return not_stored(&p->digest, r, err);
        at += n;
    }
}

static int copy_checked(struct part *p, const struct digest *d, int fd, const struct commit_info *info,
                        struct error *err) {
    struct hasher h;
    struct digest is;
    _cleanup_(freep) char *chunk = xmalloc(PUT_CHUNK + 1);
    hasher_init(&h, d->alg);
    int r = copy_all(p, fd, info, &h, chunk, err);
    hasher_final(&h, &is);
    if (r < 0) return r;
    if (digest_eq(&is, d)) return 0;
    return error_set(err, ERR_MISMATCH, "the bytes do not match their digest");
}

int store_put_file(struct store *s, const struct digest *d, int fd, const struct commit_info *info, struct error *err) {
    if (digest_len(d->alg) == 0) return error_set(err, ERR_INVALID, "no digest given");
    struct part *p;
    int r = part_new_temp(s, d, &p, err);
    if (r < 0) return r;
    return put_end(p, d, info, copy_checked(p, d, fd, info, err), err);
}
