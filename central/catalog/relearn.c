/* Compares store and catalogue, after a start and after the disk refused facts. Thread: work pool. */
#include "central/catalog/relearn.h"

#include "common/core/buf.h"
#include "common/core/log.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#include <stdio.h>
#include <string.h>

#define TAGS_BATCH 1000
#define HELD_BATCH 500
#define FACT_BYTES 2048
#define QUEUED_MAX (8 * MiB)

struct relearn {
    struct catalog *catalog;
    struct content *door;
    struct store *store;
    const struct name_rules *rules;
    struct buf manifests; /* digests of those to be read, once the walk is over */
    int64_t blobs;        /* that were not known to be held */
    size_t queued;        /* bytes, roughly, that the catalogue was told since it was last waited for */
};

/* The catalogue's queue is bounded, and what pulls learn meanwhile must find room in it. */
static void pace(struct relearn *r, size_t children) {
    r->queued += FACT_BYTES + children * sizeof(struct manifest_child);
    if (r->queued < QUEUED_MAX) return;
    catalog_flush(r->catalog);
    r->queued = 0;
}

/* Passes on news of content that the store has already. */
static void learn(struct relearn *r, struct content_news *n, size_t children) {
    n->stored = true;
    content_learn(r->door, n);
    pace(r, children);
}

static bool compare_blob(const struct digest *d, const struct blob_info *info, int64_t used_at, void *arg) {
    (void)used_at;
    struct relearn *r = arg;
    struct catalog_fact f = {.digest = *d};
    catalog_lookup(r->catalog, &f, 1, 0); /* no room for children: only their existence matters here */
    bool is_manifest = f.is_manifest || f.code == ERR_TOO_BIG, held = f.held;
    catalog_fact_fini(&f);
    if (!held) {
        r->blobs++;
        const struct content_blob blob = {.digest = *d, .size = info->size};
        learn(r, &(struct content_news){.blobs = &blob, .n_blobs = 1}, 0);
    }
    bool unread = (info->flags & BLOB_MANIFEST) && !is_manifest;
    return !unread || buf_add(&r->manifests, d, sizeof(*d)) == 0;
}

/* Finds blobs that were evicted but are still held by the catalogue, whose write was lost. */
static void compare_held(struct relearn *r) {
    struct digest some[HELD_BATCH], last;
    struct blob_info info;
    for (size_t n = HELD_BATCH, first = 0; n == HELD_BATCH; first = 1) {
        n = catalog_held_after(r->catalog, first ? &last : NULL, some, HELD_BATCH);
        for (size_t i = 0; i < n; i++) {
            if (store_lookup(r->store, &some[i], &info)) continue;
            catalog_blob_lost(r->catalog, &some[i]);
            pace(r, 0);
            /* It may have come back since the lookup; then the loss has overwritten its news. */
            if (store_lookup(r->store, &some[i], &info)) compare_blob(&some[i], &info, 0, r);
        }
        if (n > 0) last = some[n - 1];
    }
}

static void read_manifest(struct relearn *r, const struct digest *d) {
    struct blob_info info;
    struct manifest m = {0};
    char *data;
    size_t len;
    if (store_read_blob(r->store, d, MANIFEST_MAX_BYTES, &data, &len, &info) < 0) return; /* gone meanwhile */
    if (manifest_parse(&m, data, len, NULL) == 0) {
        const struct content_blob blob = {
            .digest = *d, .size = (int64_t)len, .media_type = info.media_type ? info.media_type : "", .doc = &m};
        learn(r, &(struct content_news){.blobs = &blob, .n_blobs = 1}, m.n_children);
    }
    manifest_fini(&m);
    free(data);
}

static void learn_tag(struct relearn *r, const struct repo_name *repo, const char *repo_str, const char *tag) {
    struct tag_facts rec;
    if (!store_tag_get(r->store, repo_str, tag, &rec)) return;
    learn(r, &(struct content_news){.repo = repo, .tag = tag, .facts = &rec}, 0);
}

static bool compare_repo(const char *name, int64_t tags, int64_t manifests, int64_t bytes, void *arg) {
    (void)tags, (void)manifests, (void)bytes;
    struct relearn *r = arg;
    struct repo_name repo;
    char same[REPO_STR_MAX], last[TAG_MAX + 1] = "";
    /* Under the present rules the stored name may mean another repository: then it is left alone. */
    if (resolve_repo(r->rules, NULL, name, strlen(name), &repo, NULL) < 0) return true;
    if (strcmp(repo_name_str(&repo, same), name) != 0) return true;
    for (size_t n = TAGS_BATCH; n == TAGS_BATCH;) {
        char **some = NULL;
        n = store_tags(r->store, name, last, TAGS_BATCH, &some);
        for (size_t i = 0; i < n; i++) {
            learn_tag(r, &repo, name, some[i]);
            if (i + 1 == n) snprintf(last, sizeof(last), "%s", some[i]);
            free(some[i]);
        }
        free(some);
    }
    return true;
}

void catalog_relearn(struct catalog *c, struct content *door, struct store *s, const struct name_rules *rules) {
    struct relearn r = {.catalog = c, .door = door, .store = s, .rules = rules};
    struct error err = {0};
    buf_init(&r.manifests, 0);
    store_wait_reconciled(s);
    int code = store_each_blob(s, compare_blob, &r, &err);
    for (size_t at = 0; at + sizeof(struct digest) <= r.manifests.len; at += sizeof(struct digest)) {
        struct digest d;
        memcpy(&d, r.manifests.data + at, sizeof(d));
        read_manifest(&r, &d);
    }
    if (code == 0) compare_held(&r);
    if (code == 0) code = store_each_repo(s, compare_repo, &r, &err);
    if (code < 0) log_warn("catalog_relearn_failed", KV_S("why", err.msg));
    if (r.blobs) log_info("catalog_relearned", KV_I("blobs", r.blobs));
    buf_fini(&r.manifests);
}
