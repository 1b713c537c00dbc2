/* The end of a fill whose bytes are all there: the digest is compared, readers get the last piece, the part file goes
 * into the store. Thread: fetch loop. */
#include "common/fill/fill_private.h"
#include "common/core/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void keep_fini(struct fill *f) {
    for (unsigned i = 0; i < f->keep.n_scopes; i++)
        free(f->keep.scopes[i]);
}

bool keep_has_scope(const struct fill *f, const char *scope) {
    for (unsigned i = 0; i < f->keep.n_scopes; i++) {
        if (strcmp(f->keep.scopes[i], scope) == 0) return true;
    }
    return false;
}

void keep_add_scope(struct fill *f, const char *scope) {
    if (f->keep.n_scopes == ARRAY_LEN(f->keep.scopes) || keep_has_scope(f, scope)) return;
    pthread_mutex_t *lock = &f->engine->kept_manifests.lock;
    pthread_mutex_lock(lock);
    f->keep.scopes[f->keep.n_scopes++] = xstrdup(scope);
    pthread_mutex_unlock(lock);
}

void keep_add_use(struct fill *f) {
    f->keep.from_start++;
}

/* --- manifests that the store is taking in --- */

void kept_manifests_init(struct kept_manifests *k) {
    pthread_mutex_init(&k->lock, NULL);
}

void kept_manifests_fini(struct kept_manifests *k) {
    assert(!k->first);
    pthread_mutex_destroy(&k->lock);
}

bool kept_manifests_have(struct kept_manifests *k, const struct digest *d, const char *scope) {
    struct fill *f;
    pthread_mutex_lock(&k->lock);
    for (f = k->first; f; f = f->keep.next_kept) {
        if (digest_eq(&f->spec.digest, d) && keep_has_scope(f, scope)) break;
    }
    pthread_mutex_unlock(&k->lock);
    return f != NULL;
}

static void join_kept(struct fill *f) {
    struct kept_manifests *all = &f->engine->kept_manifests;
    struct keep *k = &f->keep;
    pthread_mutex_lock(&all->lock);
    k->next_kept = all->first;
    k->link_kept = &all->first;
    if (k->next_kept) k->next_kept->keep.link_kept = &k->next_kept;
    all->first = f;
    pthread_mutex_unlock(&all->lock);
}

static void leave_kept(struct fill *f) {
    struct kept_manifests *all = &f->engine->kept_manifests;
    struct keep *k = &f->keep;
    if (!k->link_kept) return;
    pthread_mutex_lock(&all->lock);
    *k->link_kept = k->next_kept;
    if (k->next_kept) k->next_kept->keep.link_kept = k->link_kept;
    pthread_mutex_unlock(&all->lock);
    k->link_kept = NULL;
}

/* --- into the store --- */

/* Repositories that were granted the blob while the store took it in. */
static void add_late_scopes(struct fill *f) {
    struct store *store = f->engine->cfg.store;
    uint32_t id;
    for (unsigned i = f->keep.n_handed; i < f->keep.n_scopes; i++) {
        if (store_scope(store, f->keep.scopes[i], &id) == 0) store_add_scope(store, &f->spec.digest, id);
    }
}

static void on_committed(struct loop_task *task) {
    struct fill *f = container_of(task, struct fill, keep.committed);
    char digest[DIGEST_STR_MAX];
    if (f->keep.commit_code < 0) {
        log_error("commit_failed", KV_S("digest", digest_str(&f->spec.digest, digest)),
                  KV_S("why", error_name(f->keep.commit_code)));
        /* Not when it was deleted again at the same moment. */
        if (f->keep.commit_code != ERR_NOT_FOUND)
            atomic_fetch_add_explicit(&f->engine->passed_through, 1, memory_order_relaxed);
    }
    if (f->keep.commit_code == 0) add_late_scopes(f);
    const struct fill_engine_config *cfg = &f->engine->cfg;
    if (f->keep.commit_code == 0 && shared_is_manifest(&f->shared) && cfg->kept_manifest)
        cfg->kept_manifest(&f->spec.digest, cfg->arg);
    leave_kept(f);
    fill_go(f, STEP_OVER);
}

static void commit_done(int code, void *arg) {
    struct fill *f = arg;
    f->keep.commit_code = code;
    loop_post(f->loop, &f->keep.committed);
}

static void hand_to_store(struct fill *f, int64_t size, const struct manifest *m) {
    char repo[REPO_STR_MAX];
    uint32_t scopes[ARRAY_LEN(f->keep.scopes)];
    struct commit_info info = {
        .size = size,
        .scopes = scopes,
        .whose = caller_number(&f->spec.caller),
        .uses = f->keep.from_start > 1 ? f->keep.from_start - 1 : 0,
    };
    struct digest *children = NULL;
    f->keep.n_handed = f->keep.n_scopes;
    /* If a scope cannot be stored, the source is asked again each time. */
    for (unsigned i = 0; i < f->keep.n_scopes; i++) {
        if (store_scope(f->engine->cfg.store, f->keep.scopes[i], &scopes[info.n_scopes]) == 0) info.n_scopes++;
    }
    if (shared_is_manifest(&f->shared)) {
        info.flags |= BLOB_MANIFEST;
        info.media_type = shared_media_type(&f->shared);
        info.repository = repo_name_str(&f->spec.repo, repo);
        children = xcalloc(m->n_children + 1, sizeof(*children));
        for (size_t i = 0; i < m->n_children; i++)
            children[i] = m->children[i].digest;
        info.children = children;
        info.n_children = m->n_children;
    }
    f->keep.committed.fn = on_committed;
    part_commit(fill_bytes_hand_over(f), &info, commit_done, f);
    free(children);
}

/* Called before any reader gets the end. */
static void tell(const struct fill *f, int64_t size, const struct manifest *doc) {
    if (!f->engine->cfg.content) return;
    bool is_manifest = shared_is_manifest(&f->shared);
    /* One whose size was not known may have a proof at its very end, too. */
    const struct content_blob blob = {.digest = f->spec.digest,
                                      .size = size,
                                      .proofs = check_proofs(f),
                                      .n_proofs = size > 0 ? (size_t)((size - 1) / PIECE_SIZE) : 0,
                                      .media_type = is_manifest ? shared_media_type(&f->shared) : NULL,
                                      .doc = is_manifest ? doc : NULL};
    content_learn(f->engine->cfg.content, &(struct content_news){.repo = &f->spec.repo, .blobs = &blob, .n_blobs = 1});
}

/* Reads the manifest whose bytes are all there. Work pool for a large one, else fetch loop; the fill rests meanwhile. */
static void read_manifest(struct fill *f) {
    struct keep *k = &f->keep;
    size_t size = (size_t)intake_written(f);
    char *body = xmalloc(size + 1);
    int r = fill_bytes_read(f, 0, body, size);
    body[size] = '\0';
    k->read_code = r;
    k->parsed = r == 0 && manifest_judge(&k->doc, body, size, &k->is_manifest) == 0;
    if (!k->parsed) {
        manifest_fini(&k->doc);
        memset(&k->doc, 0, sizeof(k->doc));
    }
    free(body);
}

/* The digest matches and a manifest is read: all readers may have everything, then it goes into the store. */
static enum fill_step proved(struct fill *f) {
    int64_t size = intake_written(f);
    struct manifest *m = &f->keep.doc;
    if (f->spec.manifest) {
        shared_set_manifest(&f->shared, f->keep.is_manifest);
        /* One digest has one type, whoever sends it and however: what the document says of itself, then its shape. */
        if (m->media_type[0])
            shared_set_media_type(&f->shared, m->media_type);
        else if (!shared_media_type(&f->shared)[0])
            shared_set_media_type(&f->shared, "application/octet-stream");
    }
    tell(f, size, f->keep.parsed ? m : NULL);
    fill_make_part(f); /* of one known to be empty */
    bool keeps = fill_bytes_are_kept(f);
    /* Counted before a reader can see the end, so that a reader that has it all finds it counted. */
    atomic_fetch_add_explicit(&f->engine->completed, 1, memory_order_relaxed);
    if (!keeps) atomic_fetch_add_explicit(&f->engine->passed_through, 1, memory_order_relaxed);
    if (keeps && shared_is_manifest(&f->shared)) join_kept(f);
    shared_proved(&f->shared, size);
    fill_notify_readers(f);
    if (keeps) {
        hand_to_store(f, size, m);
    } else {
        fill_bytes_discard(f);
    }
    manifest_fini(m);
    return keeps ? STEP_COMMITTING : STEP_OVER;
}

static enum fill_step read_or_lost(struct fill *f) {
    return f->keep.read_code < 0 ? check_lost_all(f, f->keep.read_code) : proved(f);
}

static void on_read(struct loop_task *task) {
    struct fill *f = container_of(task, struct fill, keep.read);
    fill_go(f, read_or_lost(f));
}

static void run_reading(struct work *w) {
    struct fill *f = container_of(w, struct fill, keep.reading);
    read_manifest(f);
    loop_post(f->loop, &f->keep.read);
}

/* Nothing on the fetch loop waits for a large manifest to be read. */
enum fill_step keep_read(struct fill *f) {
    f->keep.read.fn = on_read;
    f->keep.reading = (struct work){.fn = run_reading, .whose = caller_number(&f->spec.caller)};
    workpool_submit(f->engine->cfg.pool, &f->keep.reading);
    return STEP_STAY;
}

bool keep_is_ending(const struct fill *f) {
    return fill_step(f) == STEP_READING || fill_step(f) == STEP_COMMITTING;
}

/* The store has the file, and on_committed follows. */
enum fill_step keep_commit(struct fill *f) {
    (void)f;
    return STEP_STAY;
}

enum fill_step keep_finish(struct fill *f) {
    if (check_digest_fits(f)) {
        if (f->spec.manifest && intake_written(f) > MANIFEST_QUICK_BYTES) return STEP_READING;
        if (!f->spec.manifest) return proved(f);
        read_manifest(f);
        return read_or_lost(f);
    }
    /* Pieces that the catalogue has proved stay; without the catalogue no byte is known to be good. */
    fill_rewind(f, piece_start(shared_proven(&f->shared)));
    return plan_source_was_wrong(f, "bytes that do not match the digest");
}
