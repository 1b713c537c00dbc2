/* The end of a fill whose bytes are all there: the digest is compared, readers get the last piece, the part file goes
 * into the store. Thread: fetch loop. */
#include "common/fill/fill_private.h"
#include "common/store/part.h"

#include <stdio.h>
#include <string.h>

static void on_committed(struct loop_task *task) {
    struct fill *f = container_of(task, struct fill, committed);
    char digest[DIGEST_STR_MAX];
    if (f->commit_code < 0) {
        log_error("commit_failed", KV_S("digest", digest_str(&f->spec.digest, digest)),
                  KV_S("why", error_name(f->commit_code)));
    }
    const struct fill_engine_config *cfg = &f->engine->cfg;
    if (f->commit_code == 0 && f->is_manifest && cfg->kept_manifest) cfg->kept_manifest(&f->spec.digest, cfg->arg);
    fill_over(f);
}

static void commit_done(int code, void *arg) {
    struct fill *f = arg;
    f->commit_code = code;
    loop_post(f->loop, &f->committed);
}

static void hand_to_store(struct fill *f, int64_t size, const struct manifest *m) {
    char repo[REPO_STR_MAX];
    uint32_t scopes[ARRAY_LEN(f->scopes)];
    struct commit_info info = {
        .size = size,
        .scopes = scopes,
        .uses = f->from_start > 1 ? f->from_start - 1 : 0,
    };
    struct digest *children = NULL;
    /* In a scope that cannot be remembered the source is asked again each time. */
    for (unsigned i = 0; i < f->n_scopes; i++) {
        if (store_scope(f->engine->cfg.store, f->scopes[i], &scopes[info.n_scopes]) == 0) info.n_scopes++;
    }
    if (f->is_manifest) {
        info.flags |= BLOB_MANIFEST;
        info.media_type = f->media_type;
        info.repository = repo_name_str(&f->spec.repo, repo);
        children = calloc(m->n_children + 1, sizeof(*children));
        if (!children) abort();
        for (size_t i = 0; i < m->n_children; i++)
            children[i] = m->children[i].digest;
        info.children = children;
        info.n_children = m->n_children;
    }
    f->committed.fn = on_committed;
    struct part *part = f->part;
    f->part = NULL;
    part_commit(part, &info, commit_done, f);
    free(children);
}

/* Before any reader may have its end. */
static void tell(const struct fill *f, int64_t size, const struct manifest *doc) {
    if (!f->engine->cfg.content) return;
    /* One whose size was not known may have a proof at its very end, too. */
    const struct content_blob blob = {.digest = f->spec.digest,
                                      .size = size,
                                      .proofs = f->proofs,
                                      .n_proofs = size > 0 ? (size_t)((size - 1) / PIECE_SIZE) : 0,
                                      .media_type = f->is_manifest ? f->media_type : NULL,
                                      .doc = f->is_manifest ? doc : NULL};
    content_learn(f->engine->cfg.content, &(struct content_news){.repo = &f->spec.repo, .blobs = &blob, .n_blobs = 1});
}

/* The digest fits: everybody may have everything, then it goes into the store. */
static void proved(struct fill *f) {
    int64_t size = f->written;
    struct manifest m = {0};
    bool parsed = false;
    char *body = NULL;
    if (f->spec.manifest) {
        body = malloc((size_t)size + 1);
        if (!body) abort();
        int r = fill_bytes_read(f, 0, body, (size_t)size);
        body[size] = '\0';
        f->is_manifest = r == 0 && manifest_is_one(body, (size_t)size);
        parsed = r == 0 && manifest_parse(&m, body, (size_t)size, NULL) == 0;
        if (!parsed) manifest_fini(&m), memset(&m, 0, sizeof(m));
        /* One digest has one type, whoever sends it and however: what the document says of itself, then its shape. */
        if (m.media_type[0])
            memcpy(f->media_type, m.media_type, sizeof(m.media_type));
        else if (!f->media_type[0])
            snprintf(f->media_type, sizeof(f->media_type), "application/octet-stream");
    }
    tell(f, size, parsed ? &m : NULL);
    fill_make_part(f); /* of one known to be empty */
    bool keeps = f->part && !atomic_load_explicit(&f->window, memory_order_relaxed);
    /* Counted before anybody can see the end of it, so that who has it whole finds it counted. */
    atomic_fetch_add_explicit(&f->engine->completed, 1, memory_order_relaxed);
    if (!keeps) atomic_fetch_add_explicit(&f->engine->passed_through, 1, memory_order_relaxed);
    fill_set_size(f, size, SIZE_KNOWN);
    atomic_store_explicit(&f->proven, size, memory_order_relaxed);
    atomic_store_explicit(&f->visible, size, memory_order_release);
    atomic_store_explicit(&f->state, FILL_PROVED, memory_order_release);
    fill_notify_readers(f);
    if (keeps) {
        f->step = STEP_COMMITTING;
        hand_to_store(f, size, &m);
    } else {
        if (f->part) part_discard(f->part);
        f->part = NULL;
        fill_over(f);
    }
    manifest_fini(&m);
    free(body);
}

bool fill_digest_fits(const struct fill *f) {
    struct hasher h = f->hasher;
    struct digest got;
    hasher_final(&h, &got);
    return digest_eq(&got, &f->spec.digest);
}

void fill_finish(struct fill *f) {
    if (fill_digest_fits(f)) {
        proved(f);
        return;
    }
    /* Pieces the catalogue has proved stay; without its word nothing is known to be good. */
    int64_t keep = atomic_load_explicit(&f->proven, memory_order_relaxed);
    fill_rewind(f, piece_start(keep));
    fill_source_lied(f, "bytes that do not match the digest");
}
