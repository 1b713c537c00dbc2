/* Writing, checking and reading records. Thread: any. */
#include "common/records/record.h"

#include "common/core/alloc.h"
#include "common/core/siphash.h"
#include "common/records/varint.h"

#include <stdio.h>
#include <string.h>

#define SIZE_END (1LL << 47)
#define HAS_SIZE 8
#define HAS_PLATFORM 16
#define IS_FOREIGN 4
#define KIND_BITS 3
#define FLAGS (KIND_BITS | IS_FOREIGN | HAS_SIZE | HAS_PLATFORM)

/* --- writing --- */

static int put_number(struct buf *out, uint64_t n, int bytes) {
    uint8_t b[8];
    for (int i = 0; i < bytes; i++)
        b[i] = (uint8_t)(n >> (8 * i));
    return buf_add(out, b, (size_t)bytes);
}

static int put_text(struct buf *out, const char *s) {
    size_t len = strlen(s);
    if (len > 255) return ERR_UNSUPPORTED;
    int r = put_number(out, len, 1);
    return r ? r : buf_add(out, s, len);
}

static bool size_fits(int64_t size) {
    return size >= 0 && size < SIZE_END;
}

static int put_digest(struct buf *out, const struct digest *d) {
    return d->alg == DIGEST_SHA256 ? buf_add(out, d->bytes, RECORD_DIGEST) : ERR_UNSUPPORTED;
}

int record_of_blob(struct buf *out, const struct digest *d, int64_t size) {
    if (!size_fits(size)) return ERR_UNSUPPORTED;
    int r = put_digest(out, d);
    return r ? r : put_number(out, (uint64_t)size, 6);
}

static int put_child(struct buf *out, const struct manifest_child *c) {
    bool platform = c->os[0] || c->arch[0] || c->variant[0];
    if (c->digest.alg != DIGEST_SHA256 || c->size >= SIZE_END) return ERR_UNSUPPORTED;
    unsigned flags = (unsigned)c->kind | (c->foreign ? IS_FOREIGN : 0U) | (c->size >= 0 ? HAS_SIZE : 0U) |
                     (platform ? HAS_PLATFORM : 0U);
    int r = put_number(out, flags, 1);
    if (r == 0) r = buf_add(out, c->digest.bytes, RECORD_DIGEST);
    if (r == 0 && c->size >= 0) r = varint_add(out, (uint64_t)c->size);
    if (r == 0 && platform) r = put_text(out, c->os);
    if (r == 0 && platform) r = put_text(out, c->arch);
    if (r == 0 && platform) r = put_text(out, c->variant);
    return r;
}

/* On failure nothing is appended. */
static int ended(struct buf *out, size_t before, int r) {
    if (r == 0 && out->len - before <= RECORD_MAX) return 0;
    out->len = before;
    return r ? r : ERR_UNSUPPORTED;
}

int record_of_manifest(struct buf *out, const struct digest *d, int64_t size, const struct manifest *m) {
    size_t before = out->len;
    if (!size_fits(size) || m->n_children > RECORD_CHILDREN_MAX) return ERR_UNSUPPORTED;
    int r = record_of_blob(out, d, size);
    if (r == 0) r = put_text(out, m->media_type);
    if (r == 0) r = varint_add(out, m->n_children);
    for (size_t i = 0; i < m->n_children && r == 0; i++)
        r = put_child(out, &m->children[i]);
    return ended(out, before, r);
}

static int put_tag_key(struct buf *out, const struct repo_name *repo, const char *tag) {
    size_t before = out->len;
    int r = put_text(out, repo->upstream);
    if (r == 0) r = put_text(out, repo->path);
    if (r == 0) r = put_text(out, tag);
    return ended(out, before, r);
}

static size_t copy_with_length(uint8_t *out, const char *s) {
    size_t len = strnlen(s, 255);
    out[0] = (uint8_t)len;
    memcpy(out + 1, s, len);
    return 1 + len;
}

size_t record_tag_key(const struct repo_name *repo, const char *tag, uint8_t out[RECORD_TAG_KEY_MAX]) {
    size_t len = copy_with_length(out, repo->upstream);
    len += copy_with_length(out + len, repo->path);
    return strlen(tag) > 255 ? 0 : len + copy_with_length(out + len, tag);
}

int record_of_tag(struct buf *out, const struct repo_name *repo, const char *tag, const struct tag_facts *t) {
    size_t before = out->len;
    if (t->size >= SIZE_END || t->checked_at > RECORD_TIME_MAX) return ERR_UNSUPPORTED;
    int r = put_tag_key(out, repo, tag);
    if (r == 0) r = put_digest(out, &t->digest);
    if (r == 0) r = varint_add(out, t->size < 0 ? 0 : (uint64_t)t->size + 1);
    if (r == 0) r = put_number(out, (uint64_t)(t->checked_at < 0 ? 0 : t->checked_at), 8);
    if (r == 0) r = put_number(out, t->deleted, 1);
    if (r == 0) r = put_text(out, t->media_type);
    return ended(out, before, r);
}

/* --- reading --- */

/* What is left of a record. bad: it was shorter than it should be; nothing more can be read then. */
struct rest {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *get(struct rest *r, size_t n) {
    static const uint8_t nothing[RECORD_DIGEST];
    if (r->bad || r->left < n) {
        r->bad = true;
        r->left = 0;
        return n <= sizeof(nothing) ? nothing : NULL;
    }
    const uint8_t *p = r->at;
    r->at += n;
    r->left -= n;
    return p;
}

static uint64_t get_number(struct rest *r, int bytes) {
    const uint8_t *p = get(r, (size_t)bytes);
    uint64_t n = 0;
    for (int i = 0; i < bytes; i++)
        n |= (uint64_t)p[i] << (8 * i);
    return n;
}

static uint64_t get_varint(struct rest *r) {
    struct varint_in in = {.at = r->at, .left = r->left, .bad = r->bad};
    uint64_t n = varint_get(&in);
    *r = (struct rest){.at = in.at, .left = in.bad ? 0 : in.left, .bad = in.bad};
    return n;
}

/* Copies a text of less than cap bytes. */
static void get_text(struct rest *r, char *out, size_t cap) {
    size_t len = (size_t)get_number(r, 1);
    const uint8_t *p = r->left < len ? NULL : get(r, len);
    if (!p || len >= cap || memchr(p, 0, len)) {
        r->bad = true;
        len = 0;
    }
    if (len) memcpy(out, p, len);
    out[len] = '\0';
}

static void get_digest(struct rest *r, struct digest *d) {
    *d = (struct digest){.alg = DIGEST_SHA256};
    memcpy(d->bytes, get(r, RECORD_DIGEST), RECORD_DIGEST);
}

static void get_media_type(struct rest *r, char out[MEDIA_TYPE_MAX + 1]) {
    char said[MEDIA_TYPE_MAX + 1];
    get_text(r, said, sizeof(said));
    media_type_clean(said, out);
    if (strcmp(said, out) != 0) r->bad = true;
}

static int64_t get_size(struct rest *r, uint64_t n) {
    if (n >= (uint64_t)SIZE_END) r->bad = true;
    return r->bad ? -1 : (int64_t)n;
}

static void get_child(struct rest *r, struct manifest_child *c) {
    uint8_t flags = *get(r, 1);
    *c = (struct manifest_child){
        .kind = (enum child_kind)(flags & KIND_BITS), .foreign = flags & IS_FOREIGN, .size = -1};
    if (flags & ~FLAGS) r->bad = true;
    get_digest(r, &c->digest);
    if (flags & HAS_SIZE) c->size = get_size(r, get_varint(r));
    if (!(flags & HAS_PLATFORM)) return;
    get_text(r, c->os, sizeof(c->os));
    get_text(r, c->arch, sizeof(c->arch));
    get_text(r, c->variant, sizeof(c->variant));
    if (!c->os[0] && !c->arch[0] && !c->variant[0]) r->bad = true;
}

static bool read_manifest(const uint8_t *record, size_t len, struct wire_manifest *m) {
    struct rest r = {.at = record, .left = len};
    memset(m, 0, sizeof(*m));
    get_digest(&r, &m->digest);
    m->size = get_size(&r, get_number(&r, 6));
    get_media_type(&r, m->doc.media_type);
    m->doc.is_index =
        strcmp(m->doc.media_type, MEDIA_OCI_INDEX) == 0 || strcmp(m->doc.media_type, MEDIA_DOCKER_LIST) == 0;
    uint64_t n = get_varint(&r);
    if (r.bad || n > RECORD_CHILDREN_MAX) return false;
    m->doc.children = xcalloc(n ? (size_t)n : 1, sizeof(*m->doc.children));
    for (; m->doc.n_children < n && !r.bad; m->doc.n_children++)
        get_child(&r, &m->doc.children[m->doc.n_children]);
    return !r.bad && r.left == 0;
}

static void get_name(struct rest *r, struct repo_name *repo, char tag[TAG_MAX + 1]) {
    get_text(r, repo->upstream, sizeof(repo->upstream));
    get_text(r, repo->path, sizeof(repo->path));
    get_text(r, tag, TAG_MAX + 1);
}

static bool name_is_sound(const struct repo_name *repo, const char *tag) {
    return repo_path_check(repo->path, strlen(repo->path)) == 0 && tag_check(tag, strlen(tag)) == 0 &&
           (!repo->upstream[0] || host_check(repo->upstream, strlen(repo->upstream)) == 0);
}

static bool read_tag(const uint8_t *record, size_t len, struct wire_tag *t) {
    struct rest r = {.at = record, .left = len};
    memset(t, 0, sizeof(*t));
    get_name(&r, &t->repo, t->tag);
    get_digest(&r, &t->facts.digest);
    uint64_t size = get_varint(&r);
    t->facts.size = size == 0 ? -1 : get_size(&r, size - 1);
    uint64_t checked = get_number(&r, 8);
    uint64_t deleted = get_number(&r, 1);
    get_media_type(&r, t->facts.media_type);
    t->facts.checked_at = (int64_t)checked;
    t->facts.deleted = deleted == 1;
    return !r.bad && r.left == 0 && deleted <= 1 && checked <= RECORD_TIME_MAX && name_is_sound(&t->repo, t->tag);
}

size_t record_key_len(enum record_kind kind, const uint8_t *record, size_t len) {
    if (kind != RECORD_TAG) return len < RECORD_DIGEST ? 0 : RECORD_DIGEST;
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        if (at >= len || at + 1 + record[at] > len) return 0;
        at += 1U + record[at];
    }
    return at;
}

bool record_is_sound(enum record_kind kind, const uint8_t *record, size_t len) {
    struct wire_manifest m;
    struct wire_tag t;
    bool sound = false;
    if (len > RECORD_MAX) return false;
    if (kind == RECORD_BLOB) return len == RECORD_BLOB_BYTES && record_blob_size(record) < SIZE_END;
    if (kind == RECORD_TAG) return read_tag(record, len, &t);
    if (kind == RECORD_MANIFEST) {
        sound = read_manifest(record, len, &m);
        manifest_fini(&m.doc);
    }
    return sound;
}

int64_t record_blob_size(const uint8_t *record) {
    struct rest r = {.at = record + RECORD_DIGEST, .left = 6};
    return (int64_t)get_number(&r, 6);
}

void record_read_manifest(const uint8_t *record, size_t len, struct wire_manifest *m) {
    (void)read_manifest(record, len, m);
}

void record_read_tag(const uint8_t *record, size_t len, struct wire_tag *t) {
    (void)read_tag(record, len, t);
}

/* --- hashes and tiles --- */

void record_secret_of(const uint8_t epoch[EPOCH_BYTES], struct record_secret *out) {
    static const char purpose[] = "entrepot catalogue records";
    uint8_t text[sizeof(purpose) + EPOCH_BYTES];
    struct digest d;
    memcpy(text, purpose, sizeof(purpose));
    memcpy(text + sizeof(purpose), epoch, EPOCH_BYTES);
    digest_of(&d, DIGEST_SHA256, text, sizeof(text));
    memcpy(out->key, d.bytes, sizeof(out->key));
}

void record_hash(const struct record_secret *s, enum record_kind kind, const uint8_t *record, size_t len,
                 struct set_digest *out) {
    const uint64_t low[2] = {s->key[0] ^ (uint64_t)kind, s->key[1]}, high[2] = {s->key[2] ^ (uint64_t)kind, s->key[3]};
    out->low = siphash(low, record, len);
    out->high = siphash(high, record, len);
}

unsigned record_tile(enum record_kind kind, const uint8_t *key, size_t key_len) {
    static const uint64_t public_key[2] = {0, 0};
    switch (kind) {
    case RECORD_TAG:
        return (unsigned)(siphash(public_key, key, key_len) % TILES_OF_TAGS);
    case RECORD_BLOB:
        return TILES_OF_TAGS + ((unsigned)key[0] << 4 | (unsigned)key[1] >> 4);
    default:
        return TILES_OF_TAGS + TILES_OF_BLOBS + ((unsigned)key[0] << 2 | (unsigned)key[1] >> 6);
    }
}

enum record_kind tile_kind(unsigned tile) {
    return tile < TILES_OF_TAGS ? RECORD_TAG : tile < TILES_OF_TAGS + TILES_OF_BLOBS ? RECORD_BLOB : RECORD_MANIFEST;
}

unsigned tile_within(unsigned tile) {
    return tile < TILES_OF_TAGS                    ? tile
           : tile < TILES_OF_TAGS + TILES_OF_BLOBS ? tile - TILES_OF_TAGS
                                                   : tile - TILES_OF_TAGS - TILES_OF_BLOBS;
}
