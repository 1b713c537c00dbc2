/* What a tag points to. A fresh tag is answered from memory; a stale one costs its source one question, however many
 * requests wait; without the source, what is known is told and marked. Thread: any loop. */
#include "common/serve/serve_private.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/store/tag.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A manifest that could not be fetched is tried again when its tag is due to be checked, but not sooner than the first
 * and not later than the second of these. */
#define AGAIN_MIN_MS 1000
#define AGAIN_MAX_MS 10000
/* The record of a tag that its source tells without being asked is renewed not more often than this. */
#define RENEW_S 30

struct tag_check {
    struct registry *registry;
    struct repo_name repo;
    struct caller caller;
    uint64_t settings; /* that it was decided under */
    struct deadline deadline;
    char repo_str[REPO_STR_MAX];
    char tag[TAG_MAX + 1];
    char request_id[65];
    bool known;      /* there is a record */
    bool remembered; /* there is none, but `last` is where its source said that it points, and that is held */
    struct tag_facts last;
    struct tag_answer answer;
    void (*done)(const struct tag_answer *answer, void *arg);
    void *arg;
    struct timer timer;
    struct loop_task at_once; /* the answer was there without asking */
    bool asking, told;
    bool by_get; /* HEAD was of no use */
};

static void check_free(struct tag_check *c) {
    timer_fini(&c->timer);
    free(c);
}

static void tell(struct tag_check *c) {
    assert(!c->told);
    c->told = true;
    timer_clear(&c->timer);
    const struct policy *p = c->registry->cfg.policy;
    if (p->tag_asked && c->answer.code == 0 && c->caller.kind != CALLER_SELF)
        p->tag_asked(&c->repo, c->tag, &c->answer.facts, p->arg);
    c->done(&c->answer, c->arg);
    if (!c->asking) check_free(c);
}

/* The source could not be asked: answers with what is known, if that is not too old. */
static bool answer_stale(struct tag_check *c, const char *why) {
    struct registry *g = c->registry;
    if (c->remembered) c->answer.facts = c->last;
    c->known = c->known || c->remembered;
    int64_t age = clock_wall_s() - c->answer.facts.checked_at;
    if (!c->known || age > g->cfg.stale_for_s) return false;
    if (age < 0) age = 0;
    c->answer.code = 0;
    c->answer.facts.stale = true;
    /* That the tag was deleted is still the newest fact about it. */
    snprintf(c->answer.facts.warning, sizeof(c->answer.facts.warning), "%s: %.150s; last checked %lld s ago",
             c->answer.facts.deleted ? "deleted: its source no longer has this tag; stale" : "stale", why,
             (long long)age);
    atomic_fetch_add_explicit(&g->stale, 1, memory_order_relaxed);
    return true;
}

/* Adds to the error that what is known is too old to be served. */
static void say_too_old(struct tag_check *c) {
    char why[sizeof(c->answer.end.msg)];
    int64_t age = clock_wall_s() - c->answer.facts.checked_at;
    if (!c->known || age <= c->registry->cfg.stale_for_s) return;
    memcpy(why, c->answer.end.msg, sizeof(why));
    snprintf(c->answer.end.msg, sizeof(c->answer.end.msg),
             "%.140s; the tag that is known here was last checked %lld s ago, more than stale_for allows (%lld s)", why,
             (long long)age, (long long)c->registry->cfg.stale_for_s);
}

/* --- a tag that moves --- */

bool tag_is_held(const struct registry *g, const struct digest *d, const struct repo_name *repo) {
    const struct policy *policy = g->cfg.policy;
    struct blob_info info;
    char name[REPO_STR_MAX];
    uint32_t scope = store_scope_find(g->cfg.store, policy->scope(repo, name, policy->arg));
    return scope && store_lookup_in(g->cfg.store, d, scope, &info) && info.media_type;
}

bool tag_last_is_held(const struct registry *g, const struct digest *d, const struct repo_name *repo) {
    const struct policy *policy = g->cfg.policy;
    char name[REPO_STR_MAX];
    /* In this order: a manifest is held before the fill has done with it. */
    return fill_keeps_manifest(g->cfg.fills, d, policy->scope(repo, name, policy->arg)) || tag_is_held(g, d, repo);
}

static void take_over(struct registry *g, const struct repo_name *repo, const char *tag, const struct tag_facts *rec) {
    moves_forget(g->moves, repo, tag);
    content_learn(g->cfg.content, &(struct content_news){.repo = repo, .tag = tag, .facts = rec});
}

void registry_manifest_kept(struct registry *g, const struct digest *d) {
    struct move m;
    while (moves_take(g->moves, d, &m)) {
        if (tag_is_held(g, d, &m.repo)) take_over(g, &m.repo, m.tag, &m.said);
    }
}

void tag_say_moved(const struct tag_facts *to, const char *why, char *out, size_t cap) {
    char digest[DIGEST_STR_MAX];
    snprintf(out, cap, "stale: the tag has moved to %.19s, which cannot be had: %.150s",
             digest_str(&to->digest, digest), why);
}

/* The tag has moved from a held manifest to one that is not held. */
static void answer_moving(struct tag_check *c, const struct tag_facts *last, const struct tag_facts *said,
                          bool has_failed) {
    c->answer.code = 0;
    c->answer.last = *last;
    c->answer.has_last = true;
    c->answer.has_failed = has_failed;
    c->answer.facts = *said;
}

static void answer_gone(struct tag_check *c) {
    struct registry *g = c->registry;
    struct blob_info info;
    const struct digest *d = &c->answer.facts.digest;
    bool held = c->known && (tag_last_is_held(g, d, &c->repo) || store_lookup(g->cfg.store, d, &info));
    if (held && !c->answer.facts.deleted) {
        c->answer.facts.deleted = true;
        take_over(g, &c->repo, c->tag, &c->answer.facts);
    }
    if (held && !g->cfg.policy->hide_deleted) {
        c->answer.code = 0;
        c->answer.facts.stale = true;
        snprintf(c->answer.facts.warning, sizeof(c->answer.facts.warning),
                 "deleted: its source no longer has this tag");
        atomic_fetch_add_explicit(&g->stale, 1, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&g->negative, 1, memory_order_relaxed);
    c->answer.code = c->answer.end.code;
}

/* Reads the text of a Warning header: `299 - "text"`. */
static void read_warning(const char *header, char *out, size_t cap) {
    const char *text = strchr(header, '"');
    snprintf(out, cap, "%s", text ? text + 1 : header);
    char *quote = strrchr(out, '"');
    if (quote) *quote = '\0';
}

/* What the source said, with its own Warning. */
static struct tag_facts facts_of(const struct ask_answer *a) {
    if (a->has_tag) return a->tag;
    struct tag_facts t = {.digest = a->digest, .checked_at = clock_wall_s() - a->age_s, .size = a->total};
    snprintf(t.media_type, sizeof(t.media_type), "%s", a->media_type);
    t.stale = a->warning != NULL;
    if (t.stale) read_warning(a->warning, t.warning, sizeof(t.warning));
    return t;
}

bool tag_is_news(const struct tag_facts *known, const struct tag_facts *said) {
    return !digest_eq(&known->digest, &said->digest) || known->deleted != said->deleted || known->size != said->size ||
           strcmp(known->media_type, said->media_type) != 0 || said->checked_at >= known->checked_at + RENEW_S ||
           said->checked_at < known->checked_at;
}

/* How much newer a check must be to be recorded although the tag is as it was: it counts as fresh by its record alone. */
static int64_t renewed_after_s(int64_t fresh_ms) {
    if (fresh_ms <= 0 || fresh_ms >= 2 * RENEW_S * 1000) return RENEW_S;
    return fresh_ms < 2000 ? 1 : fresh_ms / 2000;
}

/* The source has confirmed or moved the tag. */
static void answer_said(struct tag_check *c, struct tag_facts said) {
    struct registry *g = c->registry;
    struct tag_facts last = c->answer.facts;
    if (said.stale) atomic_fetch_add_explicit(&g->stale, 1, memory_order_relaxed);
    bool moves = c->known && !digest_eq(&last.digest, &said.digest) && tag_last_is_held(g, &last.digest, &c->repo) &&
                 !tag_is_held(g, &said.digest, &c->repo);
    if (moves) {
        struct move m;
        moves_note(g->moves, &c->repo, c->tag, &said);
        bool has_failed = moves_get(g->moves, &c->repo, c->tag, &m) && m.failed_ms;
        answer_moving(c, &last, &said, has_failed);
        return;
    }
    c->answer.code = 0;
    c->answer.facts = said;
    bool renewed =
        said.checked_at - last.checked_at >= renewed_after_s(g->cfg.policy->fresh_for_ms(&c->repo, g->cfg.policy->arg));
    if (!c->known || renewed || tag_is_news(&last, &said)) take_over(g, &c->repo, c->tag, &said);
}

/* True for a type that some registries give to any document, so that only its bytes say whether it is a manifest. */
static bool type_is_vague(const char *type) {
    return strcasecmp(type, "application/json") == 0 || strcasecmp(type, "application/octet-stream") == 0;
}

/* True if a HEAD gave no digest, no type, or is not supported, so that the manifest itself must be fetched; also if
 * something else seems to have answered. */
static bool head_is_no_use(const struct tag_check *c, const struct ask_answer *a) {
    bool unknown =
        a->end.code == 0 && (!a->has_digest || strncasecmp(a->media_type, "text/", 5) == 0 ||
                             (type_is_vague(a->media_type) && !tag_is_held(c->registry, &a->digest, &c->repo)));
    return !c->by_get && (unknown || a->end.status == 405 || a->end.status == 501);
}

static void on_asked(const struct ask_answer *a, void *arg);

static void ask_source(struct tag_check *c, bool by_get) {
    struct fetch_request rq = {.kind = by_get ? FETCH_MANIFEST : FETCH_MANIFEST_HEAD,
                               .repo = c->repo,
                               .caller = c->caller,
                               .settings = c->settings};
    snprintf(rq.ref.tag, sizeof(rq.ref.tag), "%s", c->tag);
    memcpy(rq.request_id, c->request_id, sizeof(rq.request_id));
    c->asking = true;
    c->by_get = by_get;
    ask(c->registry->cfg.asker, &rq, &c->deadline, on_asked, c);
}

/* Sources word this differently and do not name the tag, so the message is replaced. A message of the other tier
 * stays. */
static void say_no_tag(struct tag_check *c) {
    struct fetch_end *end = &c->answer.end;
    char by[sizeof(end->msg)];
    if (strncmp(end->msg, NO_SUCH_TAG, strlen(NO_SUCH_TAG)) == 0) return;
    snprintf(by, sizeof(by), "%s", end->msg);
    char *status = strstr(by, " answered "), *words = status ? strstr(status, ": ") : NULL;
    if (words) *words = '\0';
    c->answer.code = fetch_end_set(end, ERR_NOT_FOUND, NO_SUCH_TAG " %s:%s (%s)", c->repo_str, c->tag, by);
}

static void on_asked(const struct ask_answer *a, void *arg) {
    struct tag_check *c = arg;
    if (head_is_no_use(c, a)) {
        ask_source(c, true);
        return;
    }
    c->asking = false;
    c->answer.end = a->end;
    if (a->end.code == 0) {
        answer_said(c, facts_of(a));
    } else if (a->end.code == ERR_OUTDATED) {
        c->answer.code = a->end.code; /* what is known here may belong to another repository */
    } else if (a->end.code == ERR_NOT_FOUND) {
        say_no_tag(c);
        answer_gone(c);
    } else if (!answer_stale(c, a->end.msg)) {
        /* A refusal may mean a changed password. If it lasts, the tag does not exist for us any more. */
        if (a->end.code == ERR_DENIED)
            answer_gone(c);
        else
            c->answer.code = a->end.code;
        if (a->end.code != ERR_DENIED) say_too_old(c);
    }
    if (c->told)
        check_free(c);
    else
        tell(c);
}

static void on_timer(void *arg) {
    struct tag_check *c = arg;
    if (answer_stale(c, "its source does not answer")) tell(c);
}

static void on_at_once(struct loop_task *task) {
    tell(container_of(task, struct tag_check, at_once));
}

bool tag_is_fresh(struct tag_facts *rec, int64_t fresh_ms) {
    int64_t now = clock_wall_s();
    if (fresh_ms == INT64_MAX) rec->checked_at = now;
    return !rec->deleted && now >= rec->checked_at && (now - rec->checked_at) * 1000 < fresh_ms;
}

/* Answers with the last held manifest while the one that the tag has moved to could not be fetched a short time ago. */
static bool answer_by_failed_move(struct tag_check *c, const struct move *m, int64_t fresh_ms) {
    struct registry *g = c->registry;
    int64_t again_ms = fresh_ms < AGAIN_MIN_MS ? AGAIN_MIN_MS : fresh_ms > AGAIN_MAX_MS ? AGAIN_MAX_MS : fresh_ms;
    if (!m->failed_ms || clock_mono_ms() - m->failed_ms >= again_ms) return false;
    c->answer.facts.stale = true;
    tag_say_moved(&m->said, m->why, c->answer.facts.warning, sizeof(c->answer.facts.warning));
    atomic_fetch_add_explicit(&g->stale, 1, memory_order_relaxed);
    return true;
}

/* Answers by what is known of the tag's move. False: there is nothing to answer with. */
static bool answer_by_move(struct tag_check *c, int64_t fresh_ms) {
    struct registry *g = c->registry;
    struct tag_facts last = c->answer.facts;
    struct move m;
    if (!c->known || !moves_get(g->moves, &c->repo, c->tag, &m)) return false;
    if (!tag_last_is_held(g, &last.digest, &c->repo) || tag_is_held(g, &m.said.digest, &c->repo)) {
        take_over(g, &c->repo, c->tag, &m.said);
        c->answer.facts = m.said;
        return tag_is_fresh(&c->answer.facts, fresh_ms);
    }
    if (answer_by_failed_move(c, &m, fresh_ms)) return true;
    if (!tag_is_fresh(&m.said, fresh_ms)) return false;
    answer_moving(c, &last, &m.said, m.failed_ms != 0);
    return true;
}

bool tag_is_told(const struct registry *g, const struct repo_name *repo, uint64_t settings, const char *tag,
                 struct tag_facts *said) {
    const struct policy *p = g->cfg.policy;
    return p->tag_told && p->tag_told(repo, tag, settings, said, p->arg);
}

/* Answers by what the source has told without being asked. False: it has not. */
static bool answer_told(struct tag_check *c, int64_t fresh_ms) {
    struct registry *g = c->registry;
    struct tag_facts said;
    struct move m;
    if (!tag_is_told(g, &c->repo, c->settings, c->tag, &said)) return false;
    bool moves = c->known && moves_get(g->moves, &c->repo, c->tag, &m) && digest_eq(&m.said.digest, &said.digest) &&
                 tag_last_is_held(g, &c->answer.facts.digest, &c->repo) && !tag_is_held(g, &said.digest, &c->repo);
    if (!moves || !answer_by_failed_move(c, &m, fresh_ms)) answer_said(c, said);
    return true;
}

/* For when the source cannot be asked. */
static void remember_last(struct tag_check *c) {
    const struct registry *g = c->registry;
    const struct policy *p = g->cfg.policy;
    c->remembered = !c->known && p->tag_last && p->tag_last(&c->repo, c->tag, &c->last, p->arg) && !c->last.deleted &&
                    tag_last_is_held(g, &c->last.digest, &c->repo);
}

void registry_resolve_tag(struct registry *g, const struct caller *caller, const struct repo_name *repo,
                          uint64_t settings, const char *tag, const char *request_id, const struct deadline *deadline,
                          void (*done)(const struct tag_answer *answer, void *arg), void *arg) {
    struct tag_check *c = xcalloc(1, sizeof(*c));
    c->registry = g;
    c->repo = *repo;
    c->caller = *caller;
    c->settings = settings;
    c->deadline = deadline ? *deadline : deadline_after(clock_mono_ms(), g->cfg.policy->answer_within_ms);
    repo_name_str(repo, c->repo_str);
    snprintf(c->tag, sizeof(c->tag), "%s", tag);
    c->done = done;
    c->arg = arg;
    c->known = store_tag_get(g->cfg.store, c->repo_str, c->tag, &c->answer.facts);
    timer_init(&c->timer, loop_current(), on_timer, c);
    int64_t fresh_ms = g->cfg.policy->fresh_for_ms(repo, g->cfg.policy->arg);
    bool told = answer_told(c, fresh_ms);
    bool fresh = told || (c->known && tag_is_fresh(&c->answer.facts, fresh_ms));
    if (fresh || fresh_ms == INT64_MAX || answer_by_move(c, fresh_ms)) {
        if (!c->known && !told)
            c->answer.code = fetch_end_set(&c->answer.end, ERR_NOT_FOUND, NO_SUCH_TAG " %s:%s", c->repo_str, tag);
        c->at_once.fn = on_at_once;
        loop_post(loop_current(), &c->at_once);
        return;
    }
    snprintf(c->request_id, sizeof(c->request_id), "%s", request_id);
    remember_last(c);
    if (c->known || c->remembered) timer_set(&c->timer, SERVE_PATIENCE_MS);
    ask_source(c, false);
}
