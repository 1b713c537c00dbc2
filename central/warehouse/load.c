/* Loads an OCI layout. The manifest and everything it refers to are put into the store, children before parents. Then
 * the whole image and its tag are recorded at once by content_host (content/content.h). If the process is killed at any
 * moment, the tag points either to the old image or to the complete new one. Thread: work pool. */
#include "central/warehouse/load.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/core/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define INDEX_MAX (4 * 1024 * 1024)
#define DEPTH_MAX 4
#define UNREADABLE_HINT "the daemon reads it as its own user: chmod -R a+rX %.200s"

/* A blob that is in the store. */
struct loaded {
    struct digest digest;
    int64_t size;
    struct piece_proofs proofs;
    bool is_manifest;
    struct manifest doc; /* of a manifest */
};

struct load {
    const struct load_target *target;
    const char *layout; /* its path, for errors */
    int folder;         /* the layout, opened */
    struct repo_name repo;
    char repo_str[REPO_STR_MAX];
    uint32_t scope;
    int64_t blobs, bytes;
    struct map *seen;   /* digests already loaded: an index may name one a thousand times */
    struct loaded *all; /* the blobs of the image; announced to the record by hosted_hold */
    size_t n_all;
};

/* A file of the layout. It is read and never mapped, because its owner may still truncate it, and accessing a truncated
 * mapping ends the process. */
struct entry {
    int fd; /* -1: none */
    int64_t len;
};

static int open_entry(const struct load *l, const struct digest *d, struct entry *e, struct error *err) {
    char name[DIGEST_STR_MAX + 16], hex[DIGEST_STR_MAX];
    snprintf(name, sizeof(name), "blobs/%s/%s", digest_alg_name(d->alg), digest_hex(d, hex));
    struct stat st;
    e->len = 0;
    e->fd = openat(l->folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (e->fd < 0 || fstat(e->fd, &st) < 0) {
        int r = error_errno(err, "opening %s/%s", l->layout, name);
        if (r == -EACCES) error_hint(err, UNREADABLE_HINT, l->layout);
        return r;
    }
    if (!S_ISREG(st.st_mode)) return error_set(err, ERR_INVALID, "%s/%s is not a file", l->layout, name);
    e->len = st.st_size;
    return 0;
}

/* Reads and parses a manifest from the file. */
static int read_manifest(const struct entry *e, const struct digest *d, struct manifest *doc, struct error *err) {
    char name[DIGEST_STR_MAX];
    if (e->len > MANIFEST_MAX_BYTES) {
        return error_set(err, ERR_TOO_BIG, "%s is a manifest of %lld bytes; at most %d are taken", digest_str(d, name),
                         (long long)e->len, MANIFEST_MAX_BYTES);
    }
    _cleanup_(freep) char *text = xmalloc((size_t)e->len + 1);
    for (int64_t at = 0; at < e->len;) {
        ssize_t n = pread(e->fd, text + at, (size_t)(e->len - at), at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_errno(err, "reading %s", digest_str(d, name));
        if (n == 0) return error_set(err, ERR_MISMATCH, "%s became shorter while it was read", digest_str(d, name));
        at += n;
    }
    struct digest is;
    digest_of(&is, d->alg, text, (size_t)e->len);
    if (!digest_eq(&is, d))
        return error_set(err, ERR_MISMATCH, "the file of %s has another digest", digest_str(d, name));
    return manifest_parse(doc, text, (size_t)e->len, err);
}

/* Keeps a blob in the store while the rest of the image is loaded. */
static void expect(struct load *l, const struct digest *d) {
    l->all = xrealloc(l->all, l->n_all + 1, sizeof(*l->all));
    l->all[l->n_all++] = (struct loaded){.digest = *d};
    hosted_hold(l->target->record, d);
}

static void forgo_all(struct load *l) {
    for (size_t i = 0; i < l->n_all; i++) {
        struct loaded *b = &l->all[i];
        hosted_release(l->target->record, &b->digest);
        if (!hosted_knows(l->target->record, &b->digest, NULL)) store_set_hosted(l->target->store, &b->digest, false);
        piece_proofs_fini(&b->proofs);
        manifest_fini(&b->doc);
    }
    free(l->all);
}

/* doc: NULL, or a manifest that is taken over and left as {0}. */
static int put(struct load *l, const struct digest *d, const struct entry *e, int64_t promised, struct manifest *doc,
               struct error *err) {
    char name[DIGEST_STR_MAX];
    if (promised >= 0 && promised != e->len) {
        return error_set(err, ERR_MISMATCH, "%s has %lld bytes, its descriptor says %lld", digest_str(d, name),
                         (long long)e->len, (long long)promised);
    }
    expect(l, d);
    struct loaded *b = &l->all[l->n_all - 1];
    b->size = e->len;
    b->is_manifest = doc != NULL;
    if (doc) {
        b->doc = *doc;
        *doc = (struct manifest){0};
    }
    _cleanup_(freep) struct digest *children = xcalloc(b->doc.n_children + 1, sizeof(*children));
    for (size_t i = 0; i < b->doc.n_children; i++)
        children[i] = b->doc.children[i].digest;
    struct commit_info info = {
        .size = b->size,
        .media_type = doc ? b->doc.media_type : NULL,
        .flags = doc ? BLOB_MANIFEST : 0, /* the record makes it hosted later */
        .scopes = &l->scope,
        .n_scopes = 1,
        .repository = doc ? l->repo_str : NULL,
        .children = children,
        .n_children = b->doc.n_children,
        .proofs = &b->proofs,
    };
    int r = store_put_file(l->target->store, d, e->fd, &info, err);
    if (r < 0) return r;
    l->blobs++;
    l->bytes += e->len;
    return 0;
}

static int load_manifest(struct load *l, const struct digest *d, int64_t promised, unsigned depth,
                         char media_type[MEDIA_TYPE_MAX + 1], int64_t *size, struct error *err);

static int load_child(struct load *l, const struct manifest_child *c, unsigned depth, struct error *err) {
    char media_type[MEDIA_TYPE_MAX + 1];
    int64_t size;
    if (c->foreign || c->kind == CHILD_SUBJECT) return 0;
    if (map_get(l->seen, &c->digest, sizeof(c->digest))) return 0;
    if (map_len(l->seen) >= MANIFEST_MAX_CHILDREN) {
        return error_set(err, ERR_TOO_BIG, "the image refers to more than %d blobs", MANIFEST_MAX_CHILDREN);
    }
    map_set(l->seen, &c->digest, sizeof(c->digest), l);
    if (c->kind == CHILD_MANIFEST) return load_manifest(l, &c->digest, c->size, depth + 1, media_type, &size, err);
    struct entry e;
    int r = open_entry(l, &c->digest, &e, err);
    if (r == 0) r = put(l, &c->digest, &e, c->size, NULL, err);
    closep(&e.fd);
    return r;
}

static int load_manifest(struct load *l, const struct digest *d, int64_t promised, unsigned depth,
                         char media_type[MEDIA_TYPE_MAX + 1], int64_t *size, struct error *err) {
    if (depth > DEPTH_MAX) return error_set(err, ERR_INVALID, "manifests nest deeper than %d levels", DEPTH_MAX);
    struct entry e;
    struct manifest doc = {0};
    int r = open_entry(l, d, &e, err);
    if (r == 0) r = read_manifest(&e, d, &doc, err);
    if (r == 0 && !doc.media_type[0]) r = error_set(err, ERR_INVALID, "a manifest does not say its media type");
    for (size_t i = 0; r == 0 && i < doc.n_children; i++)
        r = load_child(l, &doc.children[i], depth, err);
    memcpy(media_type, doc.media_type, sizeof(doc.media_type));
    if (r == 0) r = put(l, d, &e, promised, &doc, err);
    *size = e.len;
    manifest_fini(&doc);
    closep(&e.fd);
    return r;
}

static const char *ref_name(const json_t *entry) {
    return json_string_value(
        json_object_get(json_object_get(entry, "annotations"), "org.opencontainers.image.ref.name"));
}

static void hint_tags(const json_t *list, struct error *err) {
    char tags[200] = "";
    size_t i, len = 0;
    const json_t *entry;
    json_array_foreach(list, i, entry) {
        if (ref_name(entry) && len < sizeof(tags) - 1)
            len += (size_t)snprintf(tags + len, sizeof(tags) - len, "%s%s", len ? ", " : "", ref_name(entry));
    }
    if (len)
        error_hint(err, "load it as one of the tags there are: %s", tags);
    else
        error_hint(err, "its images have no tags: make it again with `skopeo copy … oci:FOLDER:TAG`");
}

/* The only image of the layout, or the one whose ref.name annotation is the tag. */
static int find_root(const struct load *l, const char *tag, struct digest *out, int64_t *size, struct error *err) {
    char path[4096];
    snprintf(path, sizeof(path), "%s/index.json", l->layout);
    _cleanup_(freep) char *text = NULL;
    size_t len;
    int r = file_read_all_at(l->folder, "index.json", path, INDEX_MAX, &text, &len, err);
    if (r < 0) {
        if (r == -EACCES)
            error_hint(err, UNREADABLE_HINT, l->layout);
        else
            error_hint(err, "give the folder of an OCI image layout, as `skopeo copy … oci:FOLDER` makes it");
        return r;
    }
    json_t *doc = json_loadb(text, len, 0, NULL), *list = json_object_get(doc, "manifests"), *entry, *found = NULL;
    size_t i;
    json_array_foreach(list, i, entry) {
        const char *name = ref_name(entry);
        if (json_array_size(list) == 1 || (name && strcmp(name, tag) == 0)) found = entry;
    }
    const char *digest = json_string_value(json_object_get(found, "digest"));
    *size = json_is_integer(json_object_get(found, "size")) ? json_integer_value(json_object_get(found, "size")) : -1;
    r = digest ? digest_parse(out, digest, strlen(digest)) : ERR_NOT_FOUND;
    if (r < 0) {
        error_set(err, r, "%s names no image for the tag %s", path, tag);
        hint_tags(list, err);
    }
    json_decref(doc);
    return r;
}

static int target_of(struct load *l, const char *ref, struct reference *tag, struct error *err) {
    char name[REPO_STR_MAX];
    int r = image_ref_parse(ref, name, tag, err);
    if (r < 0) return r;
    if (tag->is_digest) return error_set(err, ERR_INVALID, "%s: give a tag, not a digest", ref);
    r = resolve_repo(l->target->rules, NULL, name, strlen(name), &l->repo, err);
    if (r < 0) return r;
    if (l->repo.upstream[0]) {
        error_set(err, ERR_DENIED, "%s belongs to the upstream %s; only hosted repositories can be loaded into", name,
                  l->repo.upstream);
        error_hint(err, "add a pattern for it to `hosted` in central's configuration, and restart central");
        return ERR_DENIED;
    }
    repo_name_str(&l->repo, l->repo_str);
    r = store_scope(l->target->store, l->repo_str, &l->scope);
    if (r == 0) return 0;
    error_set(err, r, "the store tells too many repositories apart to take %s too", l->repo_str);
    error_hint(err, "free some: `entrepot-central prune`, and try again half a minute later");
    return r;
}

/* Records the whole image at once: it is hosted from here on. */
static int host(struct load *l, const char *tag, const struct digest *d, int64_t size, const char *media_type,
                struct error *err) {
    struct tag_facts rec = {.digest = *d, .checked_at = clock_wall_s(), .size = size};
    snprintf(rec.media_type, sizeof(rec.media_type), "%s", media_type);
    _cleanup_(freep) struct content_blob *blobs = xcalloc(l->n_all, sizeof(*blobs));
    for (size_t i = 0; i < l->n_all; i++) {
        const struct loaded *b = &l->all[i];
        blobs[i] = (struct content_blob){.digest = b->digest,
                                         .size = b->size,
                                         .proofs = b->proofs.list,
                                         .n_proofs = b->proofs.n,
                                         .media_type = b->is_manifest ? b->doc.media_type : NULL,
                                         .doc = b->is_manifest ? &b->doc : NULL};
    }
    const struct content_news news = {.repo = &l->repo, .blobs = blobs, .n_blobs = l->n_all, .tag = tag, .facts = &rec};
    return content_host(l->target->content, &news, err);
}

/* Opens the layout's folder if who asks has not. *opened: what the caller closes; -1: nothing. */
static int open_layout(struct load *l, int *opened, struct error *err) {
    struct stat st;
    *opened = -1;
    if (l->folder < 0) *opened = l->folder = open(l->layout, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (l->folder < 0 || fstat(l->folder, &st) < 0) return error_errno(err, "opening %s", l->layout);
    return S_ISDIR(st.st_mode) ? 0 : error_set(err, ERR_INVALID, "%s is not a folder", l->layout);
}

int load_image(const struct load_target *t, const char *layout, int folder, const char *ref, json_t **result,
               struct error *err) {
    struct load l = {.target = t, .layout = layout, .folder = folder};
    _cleanup_(closep) int opened = -1;
    struct reference tag;
    struct digest root;
    int64_t size = -1;
    char media_type[MEDIA_TYPE_MAX + 1], digest[DIGEST_STR_MAX];
    int r = target_of(&l, ref, &tag, err);
    if (r == 0) r = open_layout(&l, &opened, err);
    if (r == 0) r = find_root(&l, tag.tag, &root, &size, err);
    l.seen = map_new(NULL);
    if (r == 0) r = load_manifest(&l, &root, size, 0, media_type, &size, err);
    map_free(l.seen);
    if (r == 0) r = host(&l, tag.tag, &root, size, media_type, err);
    forgo_all(&l);
    if (r < 0) return r;
    /* The record is safe. Syncing the index, too, saves work at the next start. */
    int late = store_sync(t->store);
    if (late < 0) log_warn("index_sync_failed", KV_S("why", error_name(late)));
    log_info("loaded", KV_S("repository", l.repo_str), KV_S("tag", tag.tag), KV_S("digest", digest_str(&root, digest)),
             KV_I("bytes", l.bytes));
    *result = json_pack("{s:s, s:s, s:s, s:I, s:I}", "repository", l.repo_str, "tag", tag.tag, "digest", digest,
                        "blobs", (json_int_t)l.blobs, "bytes", (json_int_t)l.bytes);
    return 0;
}
