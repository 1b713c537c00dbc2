/* The list of edges in memory, who of them is admitted, and what operators say about them. Joining and renewing are in
 * roster_join.c. Thread: as the header says. */
#include "central/fleet/roster_private.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"

/* When an edge is restarted, requests of the earlier process may still arrive for a moment. If requests change between
 * known processes this often, with no new process between them, two processes run at the same time. */
#define RETURNS_MAX 3

const char *edge_state_word(enum edge_state s) {
    return s == EDGE_REMOVED ? "removed" : s == EDGE_QUARANTINED ? "quarantined" : "active";
}

/* --- writing what was noticed --- */

static void save(struct edge *e) {
    struct roster *r = e->roster;
    struct error err = {0};
    pthread_mutex_lock(&r->write);
    pthread_mutex_lock(&r->lock);
    struct edge_facts f = e->facts;
    e->dirty = e->saving = false;
    pthread_mutex_unlock(&r->lock);
    if (roster_db_put(r->db, &f, NULL, &err) < 0)
        log_error("edge_not_written", KV_S("edge", f.name), KV_S("why", err.msg));
    pthread_mutex_unlock(&r->write);
}

static void on_save(struct work *w) {
    save(container_of(w, struct edge, save));
}

/* Under lock: marks the edge's row to be written soon, by the pool. */
static void save_soon(struct edge *e) {
    e->dirty = true;
    if (e->saving) return;
    e->saving = true;
    e->save.fn = on_save;
    workpool_submit(e->roster->cfg.pool, &e->save);
}

void roster_quarantine(struct edge *e, const char *reason) {
    if (e->facts.state != EDGE_ACTIVE) return;
    e->facts.state = EDGE_QUARANTINED;
    e->roster->changes++;
    snprintf(e->facts.reason, sizeof(e->facts.reason), "%s", reason);
    log_error("edge_quarantined", KV_S("edge", e->facts.name), KV_S("site", e->facts.site), KV_S("why", reason),
              KV_S("hint", "stop the copy and `edge allow` it; or `edge remove` it; or give the right machine a new "
                           "identity by `edge invite --replace`"));
    save_soon(e);
}

/* --- its edges --- */

struct edge *roster_add(struct roster *r, const struct edge_facts *f) {
    struct edge *e = xcalloc(1, sizeof(*e));
    e->roster = r;
    e->facts = *f;
    map_set_s(r->edges, f->name, e);
    return e;
}

struct edge *roster_find(struct roster *r, const char *name) {
    pthread_mutex_lock(&r->lock);
    struct edge *e = map_get_s(r->edges, name);
    pthread_mutex_unlock(&r->lock);
    return e;
}

struct edge *roster_meet(struct roster *r, const struct member *m) {
    pthread_mutex_lock(&r->lock);
    struct edge *e = map_get_s(r->edges, m->name);
    if (!e) {
        struct edge_facts f = {
            .state = EDGE_ACTIVE, .generation = m->generation, .not_after = m->not_after, .joined_at = m->not_before};
        memcpy(f.name, m->name, sizeof(f.name));
        memcpy(f.site, m->site, sizeof(f.site));
        memcpy(f.key, m->key, sizeof(f.key));
        e = roster_add(r, &f);
        roster_quarantine(e,
                          "its certificate is good, but this central's records do not know it: they are older than it");
    }
    pthread_mutex_unlock(&r->lock);
    return e;
}

bool roster_get(struct roster *r, const char *name, struct edge_facts *out) {
    pthread_mutex_lock(&r->lock);
    const struct edge *e = map_get_s(r->edges, name);
    if (e) *out = e->facts;
    pthread_mutex_unlock(&r->lock);
    return e != NULL;
}

struct listing {
    struct edge_facts *list;
    size_t n;
};

static bool list_one(const void *key, size_t key_len, void *value, void *arg) {
    (void)key;
    (void)key_len;
    struct listing *l = arg;
    l->list[l->n++] = ((const struct edge *)value)->facts;
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct edge_facts *)a)->name, ((const struct edge_facts *)b)->name);
}

size_t roster_list(struct roster *r, struct edge_facts **list) {
    struct listing l = {0};
    pthread_mutex_lock(&r->lock);
    l.list = xcalloc(map_len(r->edges) + 1, sizeof(*l.list));
    map_each(r->edges, list_one, &l);
    pthread_mutex_unlock(&r->lock);
    qsort(l.list, l.n, sizeof(*l.list), by_name);
    *list = l.list;
    return l.n;
}

uint64_t roster_changes(const struct roster *r) {
    return r->changes;
}

/* --- admission --- */

static bool knows_instance(const struct edge *e, uint64_t instance) {
    for (unsigned i = 0; i < e->n_instances && i < INSTANCES_MAX; i++)
        if (e->instances[i] == instance) return true;
    return false;
}

/* Notes which process of the edge has asked. */
static void see_instance(struct edge *e, uint64_t instance) {
    if (instance == 0 || instance == e->instance) return;
    if (knows_instance(e, instance)) {
        if (++e->returns >= RETURNS_MAX)
            roster_quarantine(e, "two processes use its identity by turns: its data folder was copied");
    } else {
        e->returns = 0;
        e->instances[e->n_instances++ % INSTANCES_MAX] = instance;
    }
    e->instance = instance;
}

/* Whoever shows an older certificate than the newest is a copy of the edge, with two exceptions: the newest may not have
 * reached the edge yet, or the process that has the newest uses an older connection. */
static void see_generation(struct edge *e, const struct edge_sight *s) {
    if (s->generation == e->facts.generation) {
        e->confirmed = true;
        if (e->facts.shown != e->facts.issued) {
            e->facts.shown = e->facts.issued;
            save_soon(e);
        }
    } else if (s->generation > e->facts.generation) { /* these records are from an older backup */
        e->facts.generation = s->generation;
        e->facts.issued = e->facts.shown = 0;
        e->confirmed = true;
        save_soon(e);
    } else if (s->generation + 1 < e->facts.generation || e->confirmed) {
        if (s->instance != 0 && s->instance == e->instance) return;
        char why[EDGE_REASON_MAX];
        snprintf(why, sizeof(why),
                 "an old certificate of it (generation %llu, the newest is %llu) is in use: a copy of its data folder",
                 (unsigned long long)s->generation, (unsigned long long)e->facts.generation);
        roster_quarantine(e, why);
    }
}

static void see(struct edge *e, const struct edge_sight *s) {
    char address[IP_TEXT_MAX] = "";
    bool is_there = s->address && memcmp(s->address, &e->seen_from, sizeof(e->seen_from)) == 0;
    if (!is_there) e->seen_from = s->address ? *s->address : (struct ip){0};
    if (!is_there && s->address) ip_text(s->address, address);
    bool moved = (!is_there && strcmp(address, e->facts.address) != 0) || strcmp(s->version, e->facts.version) != 0 ||
                 (s->roots && s->roots != e->facts.roots);
    e->facts.seen_at = clock_wall_s();
    if (s->roots) e->facts.roots = s->roots;
    if (!moved) return;
    if (!is_there) snprintf(e->facts.address, sizeof(e->facts.address), "%s", address);
    snprintf(e->facts.version, sizeof(e->facts.version), "%s", s->version);
    save_soon(e);
}

static int check_state(const struct edge_facts *f, struct error *err) {
    if (f->state == EDGE_ACTIVE) return 0;
    if (f->state == EDGE_REMOVED) return error_set(err, ERR_DENIED, "the edge %s was removed from the fleet", f->name);
    return error_set(err, ERR_DENIED, "the edge %s is in quarantine until an operator says `edge allow`: %s", f->name,
                     f->reason);
}

/* The authority counts generations up for each name, so a key with a higher one is newer than these records: they are
 * from an older backup. */
static void see_key(struct edge *e, const struct edge_sight *s) {
    if (memcmp(s->key, e->facts.key, sizeof(e->facts.key)) == 0 || s->generation <= e->facts.generation ||
        e->facts.state != EDGE_ACTIVE)
        return;
    log_warn("edge_key_newer", KV_S("edge", e->facts.name), KV_I("generation", (long long)s->generation),
             KV_S("why", "it has joined anew since these records were backed up"));
    memcpy(e->facts.key, s->key, sizeof(e->facts.key));
    e->roster->changes++;
    e->n_instances = e->returns = 0;
    e->instance = 0;
}

int roster_admit(struct roster *r, struct edge *e, const struct edge_sight *s, struct error *err) {
    int code = 0;
    pthread_mutex_lock(&r->lock);
    see_key(e, s);
    if (memcmp(s->key, e->facts.key, sizeof(e->facts.key)) != 0) {
        code = error_set(err, ERR_DENIED, "the edge %s has joined anew since, with another key", e->facts.name);
    } else {
        if (e->facts.state == EDGE_ACTIVE) see_generation(e, s);
        if (e->facts.state == EDGE_ACTIVE) see_instance(e, s->instance);
        see(e, s);
        code = check_state(&e->facts, err);
    }
    pthread_mutex_unlock(&r->lock);
    return code;
}

int roster_check_state(struct roster *r, const struct edge *e, struct error *err) {
    pthread_mutex_lock(&r->lock);
    int code = check_state(&e->facts, err);
    pthread_mutex_unlock(&r->lock);
    return code;
}

bool roster_may_stay(struct roster *r, const struct edge *e, const uint8_t key[MEMBER_KEY_BYTES]) {
    pthread_mutex_lock(&r->lock);
    bool may = e->facts.state == EDGE_ACTIVE && memcmp(key, e->facts.key, sizeof(e->facts.key)) == 0;
    pthread_mutex_unlock(&r->lock);
    return may;
}

/* --- what operators say --- */

static int write_state(struct roster *r, const struct edge_facts *f, struct error *err) {
    int code = roster_db_exec(r->db, "BEGIN IMMEDIATE", err);
    if (code < 0) return code;
    code = roster_db_put(r->db, f, NULL, err);
    if (code == 0 && f->state == EDGE_REMOVED) code = roster_attest_removal(r, f, err);
    if (code == 0) code = roster_db_exec(r->db, "COMMIT", err);
    if (code < 0) sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* The new state is written to the file before it is used. */
static int set_state(struct roster *r, struct edge *e, enum edge_state state, struct error *err) {
    pthread_mutex_lock(&r->lock);
    struct edge_facts f = e->facts;
    pthread_mutex_unlock(&r->lock);
    f.state = state;
    f.reason[0] = '\0';
    int code = write_state(r, &f, err);
    if (code < 0) return code;
    pthread_mutex_lock(&r->lock);
    e->facts.state = state;
    r->changes++;
    e->facts.reason[0] = '\0';
    e->confirmed = false;
    e->instance = 0;
    e->n_instances = e->returns = 0;
    pthread_mutex_unlock(&r->lock);
    return 0;
}

static int no_edge(const char *name, struct error *err) {
    error_set(err, ERR_NOT_FOUND, "there is no edge %.100s", name);
    error_hint(err, "`entrepot-central edge list` shows all");
    return ERR_NOT_FOUND;
}

int roster_remove(struct roster *r, const char *name, struct error *err) {
    pthread_mutex_lock(&r->write);
    struct edge *e = roster_find(r, name);
    int code = e ? set_state(r, e, EDGE_REMOVED, err) : no_edge(name, err);
    pthread_mutex_unlock(&r->write);
    if (code == 0) log_warn("edge_removed", KV_S("edge", name));
    if (code == 0 && r->cfg.removed) r->cfg.removed(r->cfg.arg);
    return code;
}

int roster_allow(struct roster *r, const char *name, struct error *err) {
    struct edge_facts f;
    pthread_mutex_lock(&r->write);
    struct edge *e = roster_find(r, name);
    int code = e ? 0 : no_edge(name, err);
    if (e && roster_get(r, name, &f) && f.state == EDGE_REMOVED) {
        code = error_set(err, ERR_INVALID, "the edge %s was removed, and stays so", name);
        error_hint(err, "let it join anew: `entrepot-central edge invite --replace %s`", name);
    }
    if (code == 0) code = set_state(r, e, EDGE_ACTIVE, err);
    pthread_mutex_unlock(&r->write);
    if (code == 0) log_info("edge_allowed", KV_S("edge", name));
    return code;
}

/* --- life --- */

static void on_row(const struct edge_facts *f, void *arg) {
    roster_add(arg, f);
}

int roster_open(struct roster **out, const struct roster_config *cfg, struct error *err) {
    char path[4200];
    struct roster *r = xcalloc(1, sizeof(*r));
    r->cfg = *cfg;
    r->edges = map_new(free);
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->write, NULL);
    snprintf(path, sizeof(path), "%.4000s/fleet.db", cfg->data);
    int code = roster_db_open(&r->db, path, err);
    if (code == 0) code = roster_db_load(r->db, on_row, r, err);
    if (code < 0) {
        roster_close(r);
        return code;
    }
    *out = r;
    return 0;
}

static bool save_seen(const void *key, size_t key_len, void *value, void *arg) {
    (void)key;
    (void)key_len;
    struct roster *r = arg;
    struct error err = {0};
    const struct edge *e = value;
    if (roster_db_put(r->db, &e->facts, NULL, &err) < 0)
        log_error("edge_not_written", KV_S("edge", e->facts.name), KV_S("why", err.msg));
    return true;
}

/* When each edge was last seen is written here only. */
static void save_all(struct roster *r) {
    struct error err = {0};
    if (map_len(r->edges) == 0 || roster_db_exec(r->db, "BEGIN", &err) < 0) return;
    map_each(r->edges, save_seen, r);
    if (roster_db_exec(r->db, "COMMIT", &err) < 0) log_error("edge_not_written", KV_S("why", err.msg));
}

void roster_close(struct roster *r) {
    if (!r) return;
    if (r->db) save_all(r);
    sqlite3_close(r->db);
    map_free(r->edges);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->write);
    free(r);
}
