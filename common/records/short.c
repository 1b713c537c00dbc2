/* Shortens and lengthens records of manifests. Thread: any. */
#include "common/records/short.h"

#include "common/records/varint.h"

#include <string.h>

/* Of a child's flags (record.c); the last two are of the short form alone. */
enum { HAS_SIZE = 8, HAS_PLATFORM = 16, IS_SHORT = 32, SAME_SIZE = 64 };
#define HEAD_BYTES (RECORD_DIGEST + 6)

/* Copies bytes from in to out. */
static int pass(struct varint_in *in, size_t n, struct buf *out) {
    if (in->bad || n > in->left) return ERR_INVALID;
    int r = buf_add(out, in->at, n);
    in->at += n;
    in->left -= n;
    return r;
}

static int pass_text(struct varint_in *in, struct buf *out) {
    return in->left ? pass(in, 1U + *in->at, out) : ERR_INVALID;
}

static int pass_varint(struct varint_in *in, uint64_t *n, struct buf *out) {
    *n = varint_get(in);
    return in->bad ? ERR_INVALID : varint_add(out, *n);
}

/* What stands before the children. */
static int pass_head(struct varint_in *in, uint64_t *children, struct buf *out) {
    int r = pass(in, HEAD_BYTES, out);
    if (r == 0) r = pass_text(in, out);
    if (r == 0) r = pass_varint(in, children, out);
    return r == 0 && *children > RECORD_CHILDREN_MAX ? ERR_INVALID : r;
}

static int pass_platform(struct varint_in *in, unsigned flags, struct buf *out) {
    int r = 0;
    for (int i = 0; i < 3 && r == 0 && (flags & HAS_PLATFORM); i++)
        r = pass_text(in, out);
    return r;
}

static int shorten_child(struct varint_in *in, const struct record_blobs *blobs, struct buf *out) {
    if (in->left < 1 + RECORD_DIGEST) return ERR_INVALID;
    unsigned flags = in->at[0], form = flags;
    const uint8_t *digest = in->at + 1;
    int64_t known = -1;
    in->at += 1 + RECORD_DIGEST;
    in->left -= 1 + RECORD_DIGEST;
    uint64_t size = flags & HAS_SIZE ? varint_get(in) : 0;
    if (in->bad) return ERR_INVALID;
    if (blobs->size(digest, &known, blobs->arg)) form |= IS_SHORT;
    if ((form & IS_SHORT) && (flags & HAS_SIZE) && (uint64_t)known == size) form |= SAME_SIZE;
    const uint8_t first = (uint8_t)form;
    int r = buf_add(out, &first, 1);
    if (r == 0) r = buf_add(out, digest, form & IS_SHORT ? SHORT_BYTES : RECORD_DIGEST);
    if (r == 0 && (flags & HAS_SIZE) && !(form & SAME_SIZE)) r = varint_add(out, size);
    return r == 0 ? pass_platform(in, flags, out) : r;
}

static int lengthen_child(struct varint_in *in, const struct record_names *names, struct buf *out) {
    if (in->left < 1) return ERR_INVALID;
    unsigned form = *in->at++;
    const uint8_t flags = (uint8_t)(form & ~(unsigned)(IS_SHORT | SAME_SIZE));
    uint8_t digest[RECORD_DIGEST];
    int64_t size = -1;
    size_t n = form & IS_SHORT ? SHORT_BYTES : RECORD_DIGEST;
    in->left--;
    if (in->left < n || (form & (IS_SHORT | SAME_SIZE)) == SAME_SIZE) return ERR_INVALID;
    if (!(form & IS_SHORT))
        memcpy(digest, in->at, RECORD_DIGEST);
    else if (!names->blob || !names->blob(in->at, digest, &size, names->arg))
        return ERR_NOT_FOUND;
    in->at += n;
    in->left -= n;
    int r = buf_add(out, &flags, 1);
    if (r == 0) r = buf_add(out, digest, RECORD_DIGEST);
    if (r == 0 && (form & SAME_SIZE)) r = varint_add(out, (uint64_t)size);
    uint64_t said;
    if (r == 0 && (flags & HAS_SIZE) && !(form & SAME_SIZE)) r = pass_varint(in, &said, out);
    return r == 0 ? pass_platform(in, flags, out) : r;
}

int record_shorten(const uint8_t *record, size_t len, const struct record_blobs *blobs, struct buf *out) {
    struct varint_in in = {.at = record, .left = len};
    uint64_t n = 0;
    int r = pass_head(&in, &n, out);
    for (uint64_t i = 0; i < n && r == 0; i++)
        r = shorten_child(&in, blobs, out);
    return r == 0 && in.left ? ERR_INVALID : r;
}

int record_lengthen(const uint8_t *form, size_t len, const struct record_names *names, struct buf *out) {
    struct varint_in in = {.at = form, .left = len};
    uint64_t n = 0;
    int r = pass_head(&in, &n, out);
    for (uint64_t i = 0; i < n && r == 0; i++)
        r = lengthen_child(&in, names, out);
    return r == 0 && in.left ? ERR_INVALID : r;
}
