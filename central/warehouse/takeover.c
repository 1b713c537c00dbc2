/* Walks the hosted tags, each from its manifest down, then the remaining blobs that are flagged as hosted. Thread:
 * control. */
#include "central/warehouse/takeover.h"

#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/map.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 4 /* the same limit as in load.c */
#define TAGS_BATCH 1000

struct walk {
    const struct takeover *t;
    int64_t tags, blobs, missing;
    bool catalog_unread;
    int code; /* the first failure of the record */
    struct error err;
    const char *repo;          /* the repository being walked */
    struct map *seen;          /* digests of the tag being walked */
    const struct map *claimed; /* digests that only the index had as hosted */
};

bool hosted_is_repo(const struct name_rules *rules, const char *name) {
    struct repo_name repo;
    char same[REPO_STR_MAX];
    if (resolve_repo(rules, NULL, name, strlen(name), &repo, NULL) < 0 || repo.upstream[0]) return false;
    return strcmp(repo_name_str(&repo, same), name) == 0;
}

/* Keeps the first failure. */
static void fail(struct walk *w, int code, const struct error *err) {
    if (w->code < 0) return;
    w->code = code;
    w->err = *err;
}

static void add(struct walk *w, const struct hosted_blob *b, const char *tag, const struct tag_facts *t) {
    struct error err = {0};
    int r = hosted_add(w->t->record, w->repo, b, b ? 1 : 0, tag, t, &err);
    if (r < 0) fail(w, r, &err);
}

/* --- a manifest and all it names --- */

/* Also reads a file in the folder that the index does not know yet. */
static int read_manifest(struct walk *w, const struct digest *d, struct manifest *m, int64_t *size) {
    struct store *s = w->t->store;
    struct blob_info info;
    struct commit_info adopted = {.flags = 0};
    char *data = NULL;
    size_t len = 0;
    if (!store_lookup(s, d, &info)) {
        int r = store_adopt(s, d, &adopted);
        if (r < 0) return r;
    }
    int r = store_read_blob(s, d, MANIFEST_MAX_BYTES, &data, &len, &info);
    if (r < 0) return r;
    r = manifest_parse(m, data, len, NULL);
    *size = (int64_t)len;
    free(data);
    return r;
}

static void note_children(struct hosted_blob *b, const struct manifest *m) {
    b->children = xcalloc(m->n_children + 1, sizeof(*b->children));
    b->n_children = m->n_children;
    for (size_t i = 0; i < m->n_children; i++)
        b->children[i] = m->children[i].digest;
}

static void take_blob(struct walk *w, const struct manifest_child *c) {
    struct blob_info info;
    struct hosted_blob b = {.digest = c->digest, .size = c->size};
    if (store_lookup(w->t->store, &c->digest, &info)) b.size = info.size;
    w->blobs++;
    add(w, &b, NULL, NULL);
}

/* media_type: as its parent says, for a manifest whose bytes are missing. */
static void take_manifest(struct walk *w, const struct digest *d, const char *media_type, int64_t size,
                          unsigned depth) {
    struct manifest m = {0};
    struct hosted_blob b = {.digest = *d, .size = size};
    snprintf(b.media_type, sizeof(b.media_type), "%s", media_type);
    bool read = depth <= DEPTH_MAX && read_manifest(w, d, &m, &b.size) == 0;
    if (read && m.media_type[0]) memcpy(b.media_type, m.media_type, sizeof(b.media_type));
    if (read) note_children(&b, &m);
    if (!read) w->missing++;
    w->blobs++;
    add(w, &b, NULL, NULL);
    for (size_t i = 0; read && i < m.n_children; i++) {
        const struct manifest_child *c = &m.children[i];
        if (c->foreign || c->kind == CHILD_SUBJECT || map_get(w->seen, &c->digest, sizeof(c->digest))) continue;
        map_set(w->seen, &c->digest, sizeof(c->digest), w);
        if (c->kind == CHILD_MANIFEST)
            take_manifest(w, &c->digest, "", c->size, depth + 1);
        else
            take_blob(w, c);
    }
    hosted_blob_fini(&b);
    manifest_fini(&m);
}

static void take_tag(struct walk *w, const char *repo, const char *tag, const struct tag_facts *t) {
    w->repo = repo;
    w->tags++;
    w->seen = map_new(NULL);
    add(w, NULL, tag, t);
    take_manifest(w, &t->digest, t->media_type, t->size, 0);
    map_free(w->seen);
    w->seen = NULL;
}

/* --- tags --- */

/* True if the name begins with a host. Such a name is never hosted, whatever its manifests are flagged as. */
static bool names_a_host(const char *repo) {
    const char *slash = strchr(repo, '/');
    size_t n = slash ? (size_t)(slash - repo) : 0;
    return n && (memchr(repo, '.', n) || memchr(repo, ':', n) || (n == 9 && memcmp(repo, "localhost", 9) == 0));
}

/* True if the tag is hosted by the current rules, or was by earlier rules, as its flagged manifest shows. */
static bool is_hosted_tag(const struct walk *w, const char *repo, const struct digest *manifest) {
    struct blob_info info;
    if (hosted_is_repo(w->t->rules, repo)) return true;
    return !names_a_host(repo) && store_lookup(w->t->store, manifest, &info) && (info.flags & BLOB_HOSTED);
}

static void take_store_tag(struct walk *w, const char *repo, const char *tag) {
    struct tag_facts rec;
    if (!store_tag_get(w->t->store, repo, tag, &rec) || !is_hosted_tag(w, repo, &rec.digest)) return;
    take_tag(w, repo, tag, &rec);
}

static bool add_repo(const char *name, int64_t tags, int64_t manifests, int64_t bytes, void *arg) {
    (void)tags, (void)manifests, (void)bytes;
    return buf_add(arg, name, strlen(name) + 1) == 0;
}

static void each_store_tag(struct walk *w, const char *repo,
                           void (*take)(struct walk *w, const char *repo, const char *tag)) {
    char last[TAG_MAX + 1] = "";
    for (size_t n = TAGS_BATCH; n == TAGS_BATCH;) {
        char **some = NULL;
        n = store_tags(w->t->store, repo, last, TAGS_BATCH, &some);
        for (size_t i = 0; i < n; i++) {
            take(w, repo, some[i]);
            if (i + 1 == n) snprintf(last, sizeof(last), "%s", some[i]);
            free(some[i]);
        }
        free(some);
    }
}

static void each_store_repo(struct walk *w, void (*take)(struct walk *w, const char *repo, const char *tag)) {
    struct buf repos;
    struct error err = {0};
    buf_init(&repos, SIZE_MAX);
    int r = store_each_repo(w->t->store, add_repo, &repos, &err);
    for (size_t at = 0; at < repos.len; at += strlen(repos.data + at) + 1)
        each_store_tag(w, repos.data + at, take);
    buf_fini(&repos);
    if (r < 0) fail(w, r, &err);
}

/* A tag that the record or the index has is at least as new, and is kept. */
static void take_catalog_tag(const char *repo, const char *tag, const struct tag_facts *c, void *arg) {
    struct walk *w = arg;
    struct tag_facts rec;
    if (hosted_has_tag(w->t->record, repo, tag) || !is_hosted_tag(w, repo, &c->digest)) return;
    if (store_tag_get(w->t->store, repo, tag, &rec)) return;
    take_tag(w, repo, tag, c);
}

/* --- flagged blobs --- */

struct flagged {
    struct hosted *record;
    struct buf digests;
};

static bool collect_flagged(const struct digest *d, const struct blob_info *info, int64_t used_at, void *arg) {
    (void)used_at;
    struct flagged *f = arg;
    if (!(info->flags & BLOB_HOSTED) || hosted_knows(f->record, d, NULL)) return true;
    return buf_add(&f->digests, d, sizeof(*d)) == 0;
}

struct in_scope {
    struct walk *walk;
    const struct hosted_blob *blob;
};

static void take_in_scope(const char *scope, void *arg) {
    struct in_scope *s = arg;
    s->walk->repo = scope;
    if (!names_a_host(scope) || hosted_is_repo(s->walk->t->rules, scope)) add(s->walk, s->blob, NULL, NULL);
}

static void take_flagged(struct walk *w, const struct digest *d) {
    struct blob_info info;
    struct manifest m = {0};
    if (!store_lookup(w->t->store, d, &info)) return;
    struct hosted_blob b = {.digest = *d, .size = info.size};
    if ((info.flags & BLOB_MANIFEST) && read_manifest(w, d, &m, &b.size) == 0) {
        snprintf(b.media_type, sizeof(b.media_type), "%s", info.media_type ? info.media_type : m.media_type);
        note_children(&b, &m);
    }
    w->repo = "";
    w->blobs++;
    add(w, &b, NULL, NULL);
    struct in_scope s = {w, &b};
    store_each_scope(w->t->store, d, take_in_scope, &s);
    hosted_blob_fini(&b);
    manifest_fini(&m);
}

/* The caller ends it with buf_fini. */
static struct flagged all_flagged(struct walk *w) {
    struct flagged f = {.record = w->t->record};
    struct error err = {0};
    buf_init(&f.digests, SIZE_MAX);
    int r = store_each_blob(w->t->store, collect_flagged, &f, &err);
    if (r < 0) fail(w, r, &err);
    return f;
}

static void take_flagged_blobs(struct walk *w) {
    struct flagged f = all_flagged(w);
    for (size_t at = 0; at + sizeof(struct digest) <= f.digests.len; at += sizeof(struct digest)) {
        struct digest d;
        memcpy(&d, f.digests.data + at, sizeof(d));
        take_flagged(w, &d);
    }
    buf_fini(&f.digests);
}

/* --- all of it --- */

/* Runs fn in a batch, so that all its additions or none are written. */
static void in_batch(struct walk *w, void (*fn)(struct walk *w)) {
    struct error err = {0};
    int r = hosted_batch_begin(w->t->record, &err);
    fn(w);
    int end = hosted_batch_end(w->t->record, r == 0 ? &err : NULL);
    if (r == 0) r = end;
    if (r < 0) fail(w, r, &err);
}

static void take_everything(struct walk *w) {
    each_store_repo(w, take_store_tag);
    w->catalog_unread = catalog_each_tag(w->t->catalog, take_catalog_tag, w) < 0;
    take_flagged_blobs(w);
}

/* Why more may have been hosted than was found. */
static const char *doubt(const struct walk *w, bool index_was_new, char out[512]) {
    const struct takeover *t = w->t;
    const char *lost = hosted_was_lost(t->record);
    struct store_usage u;
    store_usage(t->store, &u);
    bool empty = u.blobs == 0 && w->tags == 0;
    if (lost)
        snprintf(out, 512, "%s", lost);
    else if (index_was_new && !empty)
        snprintf(out, 512, "index.db was lost or damaged before there was a record%s",
                 w->catalog_unread || catalog_sequence(t->catalog) == 0 ? ", and catalog.db, too" : "");
    else
        return NULL;
    return out;
}

/* Earlier versions created this file when they made a new index, until the catalogue had been read. */
static bool take_old_mark(const char *dir) {
    char path[4200];
    snprintf(path, sizeof(path), "%.4000s/index.db.new", dir);
    return unlink(path) == 0;
}

void hosted_take_over(const struct takeover *t) {
    if (!hosted_takeover_due(t->record)) return;
    struct walk w = {.t = t};
    char text[512];
    /* The old index's flags are known once the blobs have been adopted. */
    store_wait_reconciled(t->store);
    bool index_was_new = take_old_mark(t->dir) || store_index_is_new(t->store);
    in_batch(&w, take_everything);
    const char *why = doubt(&w, index_was_new, text);
    if (w.code == 0) w.code = hosted_complete(t->record, why, &w.err);
    if (w.code < 0)
        log_error("hosted_takeover_failed", KV_S("why", w.err.msg[0] ? w.err.msg : error_name(w.code)),
                  KV_S("then", "nothing is evicted until the next start, which tries again"));
    if (w.tags || w.blobs || why)
        log_warn("hosted_taken_over", KV_I("tags", w.tags), KV_I("blobs", w.blobs), KV_I("unreadable", w.missing),
                 KV_S("note", "the record of what is hosted was made from index.db and catalog.db"));
    if (why)
        log_error("hosted_doubtful", KV_S("why", why),
                  KV_S("then", "load again what is missing, then remove " HOSTED_NOTICE
                               " from the data folder; nothing is evicted until then"));
}

/* --- an older record was put back --- */

/* The index is newer: a tag in it whose manifest the record did not know was set after the copy was made. A tag that the
 * record lacks may also name an older image. No tag of an upstream passes for one: its manifest must be hosted in this
 * very repository. */
static void claim_tag(struct walk *w, const char *repo, const char *tag) {
    struct tag_facts rec;
    struct hosted_blob manifest;
    char **repos;
    if (!hosted_is_repo(w->t->rules, repo) || !store_tag_get(w->t->store, repo, tag, &rec)) return;
    bool newer = map_get(w->claimed, &rec.digest, sizeof(rec.digest)) != NULL;
    if ((!newer && hosted_has_tag(w->t->record, repo, tag)) ||
        hosted_find(w->t->record, repo, &rec.digest, &manifest, &repos, NULL) < 0)
        return;
    hosted_blob_fini(&manifest);
    hosted_repos_free(repos);
    take_tag(w, repo, tag, &rec);
}

static void claim_everything(struct walk *w) {
    take_flagged_blobs(w);
    each_store_repo(w, claim_tag);
}

static struct map *claimed_set(const struct flagged *f) {
    struct map *set = map_new(NULL);
    for (size_t at = 0; at + sizeof(struct digest) <= f->digests.len; at += sizeof(struct digest))
        map_set(set, f->digests.data + at, sizeof(struct digest), set);
    return set;
}

/* Counts tags that the record lacks, or whose manifest it has never known. */
static void count_unrecorded(const char *repo, const char *tag, const struct tag_facts *c, void *arg) {
    struct walk *w = arg;
    if (hosted_is_repo(w->t->rules, repo) &&
        !(hosted_has_tag(w->t->record, repo, tag) && hosted_knows(w->t->record, &c->digest, NULL)))
        w->tags++;
}

/* A lost index cannot show that the record is an older copy, but the catalogue may. Its tags are not taken: they may be
 * of an upstream that had this name. */
static void doubt_by_catalog(const struct takeover *t) {
    struct walk w = {.t = t};
    struct error err = {0};
    if (!store_index_is_new(t->store)) return;
    int r = catalog_each_tag(t->catalog, count_unrecorded, &w);
    if (r < 0 || w.tags == 0) return;
    r = hosted_doubt(t->record,
                     "catalog.db has tags of hosted repositories that hosted.db does not, and index.db was lost", &err);
    log_error("hosted_doubtful", KV_I("tags", w.tags), KV_S("why", r < 0 ? err.msg : "catalog.db has them alone"),
              KV_S("then", "load again what is missing, then remove " HOSTED_NOTICE
                           " from the data folder; nothing is evicted until then"));
}

void hosted_claim_flagged(const struct takeover *t) {
    struct walk w = {.t = t};
    struct error err = {0};
    if (hosted_takeover_due(t->record)) return;
    if (!hosted_is_doubtful(t->record)) doubt_by_catalog(t);
    struct flagged f = all_flagged(&w);
    if (f.digests.len) {
        struct map *claimed = claimed_set(&f);
        w.claimed = claimed;
        /* The doubt comes first, so that a crash in between does not leave it untold. */
        int r = hosted_doubt(t->record,
                             "index.db has images as hosted that hosted.db did not, as after an older copy of "
                             "hosted.db was put back",
                             &err);
        if (r < 0) fail(&w, r, &err);
        in_batch(&w, claim_everything);
        map_free(claimed);
    }
    buf_fini(&f.digests);
    if (w.code < 0) log_error("hosted_takeover_failed", KV_S("why", w.err.msg[0] ? w.err.msg : error_name(w.code)));
    if (w.blobs)
        log_error("hosted_claimed", KV_I("blobs", w.blobs), KV_I("tags", w.tags),
                  KV_S("note", "the index has them as hosted and the record did not: they stay hosted"),
                  KV_S("then", "load again what is missing, then remove " HOSTED_NOTICE
                               " from the data folder; nothing is evicted until then"));
}
