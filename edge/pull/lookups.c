/* Gathers questions to the catalogue and sends them. Thread: the fetch loop. */
#include "edge/pull/lookups.h"

#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/core/map.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define SETTINGS_EVERY_MS 5000
/* While this edge has no settings at all. */
#define SETTINGS_AGAIN_MS 500
#define SETTINGS_PATIENCE_MS 3000
/* Sizes learned from manifests' descriptors, so that a layer's size is known when its pull begins. */
#define SIZES_MAX 100000

/* Messages at a time; further questions are gathered for the next one. */
#define BATCHES_MAX 4

struct waiting {
    struct fill *fill;
    struct wire_query query;
    struct waiting *next;
};

struct lookups {
    struct loop *loop;
    struct central_posts *central;
    struct settings *settings;
    bool told; /* central has answered since the start; before, settings are requested whatever version is stored */
    struct waiting *waiting, **last;
    size_t n_waiting;
    bool asking;                         /* for settings alone */
    void (*heard)(bool good, void *arg); /* NULL: nobody wants to know */
    void *heard_arg;
    struct timer send, settings_due, patience;
    void (*ready)(void *arg); /* NULL: called */
    void *ready_arg;
    struct map *sizes; /* digest -> int64_t */
    struct lookups_known known;
    struct batch *batches;
    unsigned n_batches;
};

/* One message under way. */
struct batch {
    struct lookups *lookups;
    struct waiting *waiting; /* NULL: settings alone are asked for */
    struct batch *next;
};

static void remember_sizes(struct lookups *k, const struct manifest *m) {
    if (map_len(k->sizes) + m->n_children > SIZES_MAX) {
        map_free(k->sizes);
        k->sizes = map_new(free);
    }
    for (size_t i = 0; i < m->n_children && i < SIZES_MAX; i++) {
        if (m->children[i].size < 0) continue;
        int64_t *size = xmalloc(sizeof(*size));
        *size = m->children[i].size;
        map_set(k->sizes, &m->children[i].digest, sizeof(struct digest), size);
    }
}

/* Passes an answer to the fill that asked. NULL: there is none. */
static void advise(struct lookups *k, struct waiting *w, const struct wire_answer *a) {
    int64_t *learned = map_get(k->sizes, &w->query.digest, sizeof(w->query.digest));
    struct fill_advice advice = {.size = learned ? *learned : -1, .claimed = true};
    int64_t known;
    /* Central could not be asked, or is older: what the replica says is what central has seen. */
    if (k->known.blob && k->known.blob(&w->query.digest, &known, k->known.arg)) {
        advice.size = known;
        advice.claimed = false;
    }
    if (a && a->status == WIRE_KNOWN) {
        if (a->manifest) remember_sizes(k, &a->manifest->doc);
        if (a->blob && a->blob->size >= 0) {
            advice.size = a->blob->size;
            advice.claimed = a->blob->claimed;
        }
        size_t len = digest_len(w->query.digest.alg);
        /* A list of proofs whose length does not fit the size is ignored. */
        int64_t size = advice.claimed ? 0 : advice.size;
        if (a->proofs_len && size > 0 && a->proofs_len == (size_t)((size - 1) / PIECE_SIZE) * len) {
            advice.proofs = a->proofs;
            advice.n_proofs = a->proofs_len / len;
        }
    }
    fill_advise(w->fill, &advice);
}

static void batch_free(struct batch *b) {
    for (struct batch **link = &b->lookups->batches; *link; link = &(*link)->next) {
        if (*link != b) continue;
        *link = b->next;
        break;
    }
    b->lookups->n_batches--;
    free(b);
}

static void be_ready(void *arg) {
    struct lookups *k = arg;
    void (*ready)(void *) = k->ready;
    k->ready = NULL;
    timer_clear(&k->patience);
    if (ready) ready(k->ready_arg);
}

static void on_answer(const struct fetch_end *end, const char *body, size_t len, void *arg) {
    struct batch *b = arg;
    struct lookups *k = b->lookups;
    struct wire_response rs = {0};
    struct error err = {0};
    bool good = end->code == 0 && wire_response_decode(&rs, body, len, &err) == 0;
    if (end->code == 0 && !good) log_warn("lookup_unreadable", KV_S("why", err.msg));
    k->told = k->told || good;
    if (good && rs.settings) settings_apply(k->settings, rs.settings);
    if (!b->waiting) k->asking = false;
    if (k->heard && (good || !b->waiting)) k->heard(good, k->heard_arg);
    size_t i = 0;
    for (struct waiting *w = b->waiting, *next; w; w = next, i++) {
        next = w->next;
        advise(k, w, good && i < rs.n_answers ? &rs.answers[i] : NULL);
        free(w);
    }
    wire_response_fini(&rs);
    batch_free(b);
    if (k->n_waiting) timer_set(&k->send, 0);
    be_ready(k);
}

/* Takes the first that wait, at most WIRE_MAX_QUERIES. */
static struct waiting *take_waiting(struct lookups *k, struct wire_query *queries, size_t *n) {
    struct waiting *first = k->waiting, **link = &k->waiting;
    for (*n = 0; *link && *n < WIRE_MAX_QUERIES; link = &(*link)->next)
        queries[(*n)++] = (*link)->query;
    k->waiting = *link;
    *link = NULL;
    if (!k->waiting) k->last = &k->waiting;
    k->n_waiting -= *n;
    return *n ? first : NULL;
}

/* Sends what is waiting, or a question for settings alone. */
static void send_batch(struct lookups *k, bool settings_alone) {
    struct batch *b = xcalloc(1, sizeof(*b));
    struct wire_query *queries = xcalloc(k->n_waiting + 1, sizeof(*queries));
    *b = (struct batch){.lookups = k, .next = k->batches};
    k->batches = b;
    k->n_batches++;
    size_t n = 0;
    if (!settings_alone) b->waiting = take_waiting(k, queries, &n);
    k->asking = k->asking || n == 0;
    struct wire_request rq = {.version = WIRE_VERSION,
                              .settings_version = n || k->told ? settings_version(k->settings) : 0,
                              .queries = queries,
                              .n_queries = n};
    uint8_t *data = NULL;
    size_t len = 0;
    struct error err = {0};
    int r = wire_request_encode(&rq, &data, &len, &err);
    free(queries);
    if (r < 0) {
        struct fetch_end end;
        fetch_end_set(&end, r, "%s", err.msg);
        on_answer(&end, NULL, 0, b);
    } else {
        struct central_message m = {.path = n ? WIRE_LOOKUP_PATH : WIRE_SETTINGS_PATH,
                                    .body = data,
                                    .len = len,
                                    .patient = n > 0,
                                    .in_turn = n == 0,
                                    .settings = settings_version(k->settings)};
        central_post(k->central, &m, on_answer, b);
    }
    free(data);
}

static void on_send(void *arg) {
    struct lookups *k = arg;
    while (k->n_waiting && k->n_batches < BATCHES_MAX)
        send_batch(k, false);
}

static void on_settings_due(void *arg) {
    struct lookups *k = arg;
    lookups_refresh(k);
    timer_set(&k->settings_due, settings_known(k->settings) ? SETTINGS_EVERY_MS : SETTINGS_AGAIN_MS);
}

void lookups_refresh(struct lookups *k) {
    if (k->asking) return;
    send_batch(k, true); /* alone: with questions, central refuses the message when settings differ */
}

void lookups_on_heard(struct lookups *k, void (*heard)(bool good, void *arg), void *arg) {
    k->heard = heard;
    k->heard_arg = arg;
}

void lookups_first_ask(struct lookups *k, const struct lookups_known *known) {
    k->known = *known;
}

/* True: the fill has been advised. A blob of several pieces is asked for, because their proofs are not known here. */
static bool advise_at_once(struct lookups *k, struct fill *f, const struct fill_spec *spec) {
    struct fill_advice advice = {0};
    struct wire_manifest m = {0};
    if (!k->known.blob || !k->known.blob(&spec->digest, &advice.size, k->known.arg)) return false;
    if (spec->manifest && k->known.manifest(&spec->digest, &m, k->known.arg)) remember_sizes(k, &m.doc);
    manifest_fini(&m.doc);
    if (!spec->manifest && advice.size > PIECE_SIZE) return false;
    fill_advise(f, &advice);
    return true;
}

void lookups_ask(struct lookups *k, struct fill *f, const struct fill_spec *spec) {
    if (advise_at_once(k, f, spec)) return;
    struct waiting *w = xcalloc(1, sizeof(*w));
    w->fill = f;
    w->query = (struct wire_query){
        .kind = WIRE_QUERY_BLOB, .repo = spec->repo, .digest = spec->digest, .want_proofs = !spec->manifest};
    *k->last = w;
    k->last = &w->next;
    k->n_waiting++;
    if (k->n_batches < BATCHES_MAX) timer_set(&k->send, 0);
}

void lookups_begin(struct lookups *k, void (*ready)(void *arg), void *arg) {
    k->ready = ready;
    k->ready_arg = arg;
    timer_set(&k->settings_due, 0);
    timer_set(&k->patience, settings_known(k->settings) ? 0 : SETTINGS_PATIENCE_MS);
}

struct lookups *lookups_new(struct loop *l, struct central_posts *central, struct settings *settings) {
    struct lookups *k = xcalloc(1, sizeof(*k));
    *k = (struct lookups){.loop = l, .central = central, .settings = settings, .sizes = map_new(free)};
    k->last = &k->waiting;
    timer_init(&k->send, l, on_send, k);
    timer_init(&k->settings_due, l, on_settings_due, k);
    timer_init(&k->patience, l, be_ready, k);
    return k;
}

static void forget_waiting(struct lookups *k, struct waiting *w) {
    for (struct waiting *next; w; w = next) {
        next = w->next;
        advise(k, w, NULL);
        free(w);
    }
}

void lookups_free(struct lookups *k) {
    if (!k) return;
    forget_waiting(k, k->waiting);
    while (k->batches) {
        struct batch *b = k->batches;
        forget_waiting(k, b->waiting);
        batch_free(b);
    }
    timer_fini(&k->send);
    timer_fini(&k->settings_due);
    timer_fini(&k->patience);
    map_free(k->sizes);
    free(k);
}
