/* Tells the store what is hosted, and restores files. Thread: see hosted_restore.h. */
#include "central/warehouse/hosted_restore.h"

#include "central/warehouse/takeover.h"
#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/log.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#include <stdio.h>
#include <string.h>

#define TAGS_BATCH 1000
#define LOGGED_MAX 20

/* --- one blob --- */

/* Adds the blob to the scopes of all its repositories. A manifest is also listed in each. */
static int adopt(struct store *s, const struct hosted_blob *b, char **repos) {
    size_t n = 0, all = 0;
    int r = 0;
    while (repos[all])
        all++;
    _cleanup_(freep) uint32_t *scopes = xcalloc(all + 1, sizeof(*scopes));
    for (; n < all && r == 0; n++)
        r = store_scope(s, repos[n], &scopes[n]);
    bool manifest = b->media_type[0] != '\0';
    struct commit_info info = {.size = b->size,
                               .media_type = manifest ? b->media_type : NULL,
                               .flags = BLOB_HOSTED | (manifest ? (unsigned)BLOB_MANIFEST : 0),
                               .scopes = scopes,
                               .n_scopes = n,
                               .children = b->children,
                               .n_children = b->n_children};
    size_t i = 0;
    do {
        info.repository = manifest ? repos[i] : NULL;
        if (r == 0) r = store_adopt(s, &b->digest, &info);
    } while (r == 0 && manifest && repos[i] && repos[++i]);
    return r;
}

/* True if the store knows everything about the blob that the record has. */
static bool is_told(struct store *s, const struct hosted_blob *b, char **repos) {
    struct blob_info info;
    bool told = store_lookup(s, &b->digest, &info) && (info.flags & BLOB_HOSTED) &&
                (!b->media_type[0] || ((info.flags & BLOB_MANIFEST) && info.media_type));
    for (char **repo = repos; told && *repo; repo++)
        told = store_lookup_in(s, &b->digest, store_scope_find(s, *repo), &info);
    return told;
}

/* The advice comes first, because an edge cuts long messages. */
static int say_missing(const struct hosted_blob *b, char **repos, const char *why, struct error *err) {
    char name[DIGEST_STR_MAX];
    error_set(err, ERR_BUSY,
              "hosted, but its bytes are %s: restore with `entrepot-central load LAYOUT %.100s:TAG`, or put its file "
              "back into blobs/ (%s)",
              why, repos[0] ? repos[0] : "REPOSITORY", digest_str(&b->digest, name));
    return ERR_BUSY;
}

/* Restores the blob from the file in the store's folder. */
static int take_back(struct store *s, const struct hosted_blob *b, char **repos, bool prove, struct error *err) {
    char why[200];
    struct blob_info info;
    bool held = store_lookup(s, &b->digest, &info);
    bool odd = held && b->size >= 0 && info.size != b->size;
    int r = prove && (!held || odd) ? store_check_file(s, &b->digest, b->size) : 0;
    if (r == ERR_NOT_FOUND) return say_missing(b, repos, "missing", err);
    if (r == ERR_MISMATCH) return say_missing(b, repos, "damaged (the file was set aside in quarantine/)", err);
    if (r == 0 && !is_told(s, b, repos)) {
        r = adopt(s, b, repos);
        if (r == 0 && !is_told(s, b, repos)) r = ERR_BUSY; /* more repositories than the store can tell apart */
    }
    if (r == ERR_NOT_FOUND) return say_missing(b, repos, "missing", err);
    struct open_file *file = NULL;
    if (r == 0 && prove) r = store_open_blob(s, &b->digest, USE_PART, &file, &info);
    open_file_unref(file);
    if (r == ERR_NOT_FOUND) return say_missing(b, repos, "missing", err);
    if (r == 0) return 0;
    snprintf(why, sizeof(why), "not readable now (%s)", error_name(r));
    return say_missing(b, repos, why, err);
}

int hosted_restore(struct hosted *h, struct store *s, const char *repo, const struct digest *d, bool prove,
                   struct error *err) {
    struct hosted_blob b;
    char **repos;
    char name[DIGEST_STR_MAX];
    int r = hosted_find(h, repo, d, &b, &repos, err);
    if (r == ERR_NOT_FOUND) return r;
    if (r < 0) {
        error_set(err, ERR_BUSY, "cannot read now whether %s is hosted: %s", digest_str(d, name), error_name(r));
        return ERR_BUSY;
    }
    bool was_held = store_lookup(s, d, &(struct blob_info){0});
    r = take_back(s, &b, repos, prove, err);
    if (r == 0 && !was_held) log_warn("hosted_restored", KV_S("digest", digest_str(d, name)));
    hosted_blob_fini(&b);
    hosted_repos_free(repos);
    return r;
}

/* --- all of it, at a start --- */

struct untold {
    struct store *store;
    struct buf digests;
    struct digest last; /* of digests */
};

/* Most blobs are unchanged: one look at the table is enough for each. */
static void compare(const struct digest *d, int64_t size, bool manifest, const char *repo, void *arg) {
    struct untold *u = arg;
    struct blob_info info;
    bool told = store_lookup(u->store, d, &info) && (info.flags & BLOB_HOSTED) && (size < 0 || size == info.size) &&
                (!manifest || ((info.flags & BLOB_MANIFEST) && info.media_type));
    if (told && repo) told = store_lookup_in(u->store, d, store_scope_find(u->store, repo), &info);
    if (told || (u->digests.len && digest_eq(d, &u->last))) return;
    u->last = *d;
    if (buf_add(&u->digests, d, sizeof(*d)) < 0) out_of_memory();
}

/* A file of another size is not the blob that it is named after. */
static void tell_blob(struct hosted *h, struct store *s, const struct digest *d, int64_t *missing) {
    struct error err = {0};
    struct hosted_blob b;
    struct blob_info info;
    char **repos, name[DIGEST_STR_MAX];
    int r = hosted_find(h, "", d, &b, &repos, &err);
    if (r < 0) {
        log_error("hosted_unread", KV_S("digest", digest_str(d, name)), KV_S("why", error_name(r)));
        return;
    }
    r = take_back(s, &b, repos, false, &err);
    if (r == 0 && store_lookup(s, d, &info) && b.size >= 0 && info.size != b.size) {
        r = store_check_file(s, d, b.size);
        if (r < 0) say_missing(&b, repos, "damaged (the file has another size)", &err);
    }
    if (r < 0 && ++*missing <= LOGGED_MAX)
        log_error("hosted_missing", KV_S("digest", digest_str(d, name)), KV_S("why", err.msg));
    hosted_blob_fini(&b);
    hosted_repos_free(repos);
}

struct telling {
    struct content *door;
    struct store *store;
    const struct name_rules *rules;
    struct hosted *record;
    const char *repo;
};

static void tell_tag(const char *repo, const char *tag, const struct tag_facts *t, void *arg) {
    struct telling *w = arg;
    struct tag_facts rec;
    struct repo_name name = {0};
    if (!hosted_is_repo(w->rules, repo)) return; /* it is hosted again once the pattern is configured again */
    snprintf(name.path, sizeof(name.path), "%s", repo);
    bool same = store_tag_get(w->store, repo, tag, &rec) && digest_eq(&rec.digest, &t->digest) && !rec.deleted &&
                rec.size == t->size;
    if (!same) content_learn(w->door, &(struct content_news){.repo = &name, .tag = tag, .facts = t});
}

static bool add_repo(const char *name, int64_t tags, int64_t manifests, int64_t bytes, void *arg) {
    (void)tags, (void)manifests, (void)bytes;
    return buf_add(arg, name, strlen(name) + 1) == 0;
}

/* Drops a tag of a hosted repository that the record does not have: the record decides. */
static void drop_unrecorded(const struct telling *w, const char *repo) {
    char last[TAG_MAX + 1] = "", digest[DIGEST_STR_MAX];
    for (size_t n = TAGS_BATCH; n == TAGS_BATCH;) {
        char **some = NULL;
        struct tag_facts rec;
        n = store_tags(w->store, repo, last, TAGS_BATCH, &some);
        for (size_t i = 0; i < n; i++) {
            if (i + 1 == n) snprintf(last, sizeof(last), "%s", some[i]);
            if (!hosted_has_tag(w->record, repo, some[i]) && store_tag_get(w->store, repo, some[i], &rec)) {
                log_warn("hosted_tag_unrecorded", KV_S("repository", repo), KV_S("tag", some[i]),
                         KV_S("digest", digest_str(&rec.digest, digest)),
                         KV_S("then", "it is not served: the record does not have it"));
                store_tag_forget(w->store, repo, some[i]);
            }
            free(some[i]);
        }
        free(some);
    }
}

static void tell_tags(const struct telling *w) {
    struct buf repos;
    struct error err = {0};
    buf_init(&repos, SIZE_MAX);
    int r = hosted_each_tag(w->record, tell_tag, (void *)(uintptr_t)w, &err);
    if (r == 0 && !hosted_takeover_due(w->record)) r = store_each_repo(w->store, add_repo, &repos, &err);
    if (r < 0) log_error("hosted_tags_unread", KV_S("why", err.msg));
    for (size_t at = 0; at < repos.len; at += strlen(repos.data + at) + 1) {
        if (hosted_is_repo(w->rules, repos.data + at)) drop_unrecorded(w, repos.data + at);
    }
    buf_fini(&repos);
}

void hosted_tell_store(struct hosted *h, struct content *door, struct store *s, const struct name_rules *rules) {
    const struct telling w = {.door = door, .store = s, .rules = rules, .record = h};
    struct untold u = {.store = s};
    struct error err = {0};
    int64_t missing = 0;
    buf_init(&u.digests, SIZE_MAX);
    if (hosted_each_place(h, compare, &u, &err) < 0) log_error("hosted_unread", KV_S("why", err.msg));
    for (size_t at = 0; at + sizeof(struct digest) <= u.digests.len; at += sizeof(struct digest)) {
        struct digest d;
        memcpy(&d, u.digests.data + at, sizeof(d));
        tell_blob(h, s, &d, &missing);
    }
    buf_fini(&u.digests);
    tell_tags(&w);
    if (missing)
        log_error("hosted_to_be_restored", KV_I("blobs", missing),
                  KV_S("then", "put the files back into blobs/, or load the images again: entrepot-central load"));
}

/* --- missing blobs --- */

struct missing_walk {
    const struct store *store;
    void (*fn)(const struct digest *d, void *arg);
    void *arg;
    struct hosted_missing *out;
};

static void look(const struct digest *d, int64_t size, void *arg) {
    struct missing_walk *w = arg;
    struct blob_info info;
    if (store_lookup(w->store, d, &info)) return;
    w->out->n++;
    w->out->bytes += size > 0 ? size : 0;
    if (w->fn) w->fn(d, w->arg);
}

void hosted_each_missing(struct hosted *h, const struct store *s, void (*fn)(const struct digest *d, void *arg),
                         void *arg, struct hosted_missing *out) {
    struct missing_walk w = {s, fn, arg, out};
    *out = (struct hosted_missing){0};
    hosted_each_blob(h, look, &w);
}
