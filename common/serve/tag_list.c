/* Lists of tags. Thread: serving loop; what takes long is done in the work pool.
 *
 * A list is asked for page by page. Of a short one the answer is made when all is here: in order, with a length, and
 * with an error status when the source fails. One that takes longer than PATIENCE_MS is passed on as its pages come, so
 * that no client's or edge's time-out strikes; it is cut when a page cannot be had. Another node gets page by page,
 * each as its source has it: so every tier passes on what it has, and only the last one makes the list.
 *
 * A page that a client asks for costs a page of the source, too: it is asked for with the client's own n and last, and
 * its Link leads on as the source's does, with a mark (FOLLOWS). Only if the source heeds neither are its pages
 * gathered, as for a whole list, and the page is cut out of that. */
#include "common/serve/serve_private.h"

#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/budget.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/serve/list_text.h"
#include "common/serve/tag_set.h"
#include "common/store/tag.h"

#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 3000
#define IDLE_PAGES_MAX 3     /* in a row that bring nothing new, though the source says that there is more */
#define HEAD_BYTES 512       /* of a list's text before and after its tags */
#define SOURCE_PAGE_MAX 1000 /* entries asked of a source at a time: some refuse more */
#define FOLLOWS "follows&"   /* begins the query of a Link of ours: the rest is that of the source's own Link */
#define STORE_BATCH 2000     /* tags of the store at a time: its lock is held meanwhile */

struct tag_list {
    struct registry *registry;
    struct exchange *x; /* waits while the pool works: what was asked is not changed meanwhile */
    struct turn turn;
    struct share_entry slot;
    struct tag_set set;
    int64_t began_ms;
    unsigned idle_pages;
    bool one_page; /* for another node, as the source has it */
    bool paged;    /* one page of the source is asked for, for a client; false again if the list has to be gathered */
    bool follows;  /* and it was named by the source's own Link */
    bool stands;   /* what came is that page, and is passed on as it is */
    struct fetch_end end;
    /* The page to be read. */
    struct ask_answer *page;
    char query[2048]; /* of the next one */
    bool has_next, from_store;
    bool no_room;        /* in our own memory */
    bool streams, begun; /* passed on as pages come; a tag has left */
    /* The answer, or the next piece of it; NULL: there is nothing to list. */
    struct list_text *text;
    char *last; /* the page ends with this one, and more follow; NULL: it is the last page */
    size_t page_max;
};

static void list_free(struct tag_list *l) {
    slots_give(l->registry->tag_lists, &l->slot);
    tag_set_fini(&l->set);
    ask_answer_unref(l->page);
    list_text_free(l->text);
    free(l->last);
    free(l);
}

/* --- work pool --- */

static void no_room(struct tag_list *l) {
    l->no_room = true;
    fetch_end_set(&l->end, ERR_BUSY, "the memory for lists is in use (memory.lists, memory.json): try again");
}

/* Memory for a text of that length. */
static bool take_room(struct tag_list *l, int64_t len) {
    bool taken = budget_take(BUDGET_LISTS, len);
    if (!taken) no_room(l);
    return taken;
}

static void write_text(struct tag_list *l, size_t first, size_t end, int64_t taken) {
    const struct tag_set *s = &l->set;
    struct buf b;
    buf_init(&b, 2 * TAG_SET_BYTES_MAX);
    /* Neither a name nor a tag holds a character that JSON would escape. */
    int r = buf_printf(&b, "{\"name\":\"%s\",\"tags\":[", l->x->asked.path);
    if (r == 0) tag_set_write(s, first, end - first, true, &b);
    if (r == 0) r = buf_add_str(&b, "]}");
    if (r < 0) out_of_memory(); /* the set is far smaller than the buffer may be */
    l->text = list_text_new(buf_steal(&b, NULL), taken);
    if (!l->text) no_room(l);
}

/* The page that was asked for, of the sorted list, which is then no longer needed. */
static void write_page(struct tag_list *l) {
    const struct oci_request *asked = &l->x->asked;
    const struct tag_set *s = &l->set;
    size_t first = 0;
    l->page_max = asked->n < 0 ? s->n : serve_page_size(asked);
    while (asked->has_last && first < s->n && strcmp(s->tags[first], asked->last) <= 0)
        first++;
    size_t n = s->n - first < l->page_max ? s->n - first : l->page_max;
    int64_t len = tag_set_text_len(s, first, n) + HEAD_BYTES;
    if (take_room(l, len)) write_text(l, first, first + n, len);
    if (first + n > 0 && first + n < s->n) l->last = xstrdup(s->tags[first + n - 1]);
    tag_set_fini(&l->set);
}

/* True if the tags are in order and begin after the client's `last` ("": none). A source may ignore `last`, and nothing
 * else shows that. */
static bool begins_after(const struct tag_set *s, const char *last) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->tags[i], last) <= 0) return false;
        last = s->tags[i];
    }
    return true;
}

/* Passes on the source's page as the client's, if it is one. If the source has no more pages and the client named no
 * `last`, the client's page is cut out of what is here. Else the pages are gathered: on from here, or from the start if
 * this page is of no use. */
static void take_page(struct tag_list *l) {
    const struct oci_request *asked = &l->x->asked;
    bool fits = l->set.n <= serve_page_size(asked) && asked->n != 0 && (l->set.n > 0 || !l->has_next);
    l->stands = l->follows || (fits && begins_after(&l->set, asked->has_last ? asked->last : ""));
    l->paged = l->stands;
    if (l->stands) {
        int64_t len = tag_set_text_len(&l->set, 0, l->set.n) + HEAD_BYTES;
        if (take_room(l, len)) write_text(l, 0, l->set.n, len);
        tag_set_fini(&l->set);
    } else if (asked->has_last) {
        tag_set_fini(&l->set);
        l->has_next = true;
        l->query[0] = '\0';
    } else if (!l->has_next || asked->n == 0) {
        tag_set_sort(&l->set);
        write_page(l);
    }
}

/* What has come so far, as the next part of the answer. */
static void write_part(struct tag_list *l) {
    int64_t len = tag_set_text_len(&l->set, 0, l->set.n);
    char *some = take_room(l, len) ? tag_set_take(&l->set, !l->begun) : NULL;
    if (!some) {
        if (!l->no_room) budget_give(BUDGET_LISTS, len);
        return;
    }
    l->text = list_text_new(some, len);
    if (!l->text) no_room(l);
}

/* One page into the list. */
static void read_page(struct tag_list *l) {
    size_t added;
    const char *source = l->page->source;
    int r = tag_set_read(&l->set, l->page->body, l->page->body_len, &added);
    l->idle_pages = added > 0 ? 0 : l->idle_pages + 1;
    if (r == ERR_BUSY)
        no_room(l);
    else if (r == ERR_TOO_BIG)
        fetch_end_set(&l->end, ERR_UPSTREAM, "%s has more tags there than fit in %lld MiB", source,
                      (long long)(TAG_SET_BYTES_MAX / MiB));
    else if (r < 0)
        fetch_end_set(&l->end, ERR_UPSTREAM, "%s sends a list of tags that is not readable", source);
    else if (l->has_next && l->idle_pages > IDLE_PAGES_MAX)
        fetch_end_set(&l->end, ERR_UPSTREAM, "%s repeats itself: page after page of its list of tags brings no new one",
                      source);
}

static void run_page(struct turn *t) {
    struct tag_list *l = container_of(t, struct tag_list, turn);
    read_page(l);
    if (l->end.code == 0 && l->paged) {
        take_page(l);
    } else if (l->end.code == 0 && (l->streams || !l->has_next)) {
        tag_set_sort(&l->set);
        if (l->streams)
            write_part(l);
        else
            write_page(l);
    }
}

static int add_stored(struct tag_list *l, char **some, size_t n) {
    int r = 0;
    bool added;
    for (size_t i = 0; i < n; i++) {
        if (r == 0) r = tag_set_add(&l->set, some[i], &added);
        free(some[i]);
    }
    free(some);
    return r;
}

static void run_store(struct turn *t) {
    struct tag_list *l = container_of(t, struct tag_list, turn);
    struct store *store = l->x->registry->cfg.store;
    size_t got = STORE_BATCH;
    tag_set_fini(&l->set); /* of a source that then failed */
    while (got == STORE_BATCH) {
        char **some = NULL, last[TAG_MAX + 1];
        snprintf(last, sizeof(last), "%s", l->set.n ? l->set.tags[l->set.n - 1] : "");
        got = store_tags(store, l->x->repo_str, last, STORE_BATCH, &some);
        int r = add_stored(l, some, got);
        if (r == 0) continue;
        if (r == ERR_BUSY)
            no_room(l);
        else
            fetch_end_set(&l->end, ERR_TOO_BIG, "there are more tags than fit in %lld MiB",
                          (long long)(TAG_SET_BYTES_MAX / MiB));
        tag_set_fini(&l->set);
        break;
    }
    if (l->set.n > 0) write_page(l);
}

/* --- serving loop --- */

static void submit(struct tag_list *l, void (*run)(struct turn *t)) {
    struct exchange *x = l->x;
    l->turn.run = run;
    if (serve_turn(x, &l->turn)) return;
    if (l->begun) http_reply_abort(x->req);
    list_free(l);
}

static void on_page(const struct ask_answer *a, void *arg);

/* Asks for the page of l->query. */
static void ask_page(struct tag_list *l) {
    struct exchange *x = l->x;
    ask_answer_unref(l->page); /* it has been read, and takes megabytes */
    l->page = NULL;
    struct fetch_request rq = {.kind = FETCH_TAGS,
                               .repo = x->repo,
                               .caller = x->caller,
                               .settings = x->settings,
                               .query = l->query[0] ? l->query : NULL};
    snprintf(rq.request_id, sizeof(rq.request_id), "%s", http_req_id(x->req));
    x->waiting = true;
    ask(x->registry->cfg.asker, &rq, NULL, on_page, l);
}

static void release(void *list) {
    list_free(list);
}

/* A Link of ours to the page that the source's Link names. */
static void link_on(const struct tag_list *l) {
    char query[sizeof(FOLLOWS) + sizeof(l->query)];
    snprintf(query, sizeof(query), FOLLOWS "%s", l->query);
    serve_link_next(l->x, "tags/list", query);
}

/* The list goes with its answer. */
static void reply(struct tag_list *l) {
    struct exchange *x = l->x;
    serve_common_headers(x);
    if (l->page_max > 0 && l->last) serve_link_after(x, "tags/list", l->page_max, l->last);
    if (l->stands && l->has_next) link_on(l);
    size_t len;
    const char *text = list_text_get(l->text, &len);
    http_reply_ref(x->req, 200, "application/json", text, len, release, l);
}

static void fail_page(struct tag_list *l) {
    serve_fetch_end(l->x->req, &l->end, REGERR_NAME_UNKNOWN);
    list_free(l);
}

/* The source could not be asked: the tags known here are listed instead, if there are any. */
static void fall_back(struct tag_list *l) {
    if (l->end.code == ERR_NOT_FOUND || l->end.code == ERR_DENIED || l->end.code == ERR_OUTDATED || l->no_room) {
        fail_page(l);
        return;
    }
    l->from_store = true;
    submit(l, run_store);
}

static void reply_from_store(struct tag_list *l) {
    struct exchange *x = l->x;
    bool marked = l->end.code != 0;
    if (l->text && marked) {
        snprintf(x->warning, sizeof(x->warning), "299 - \"stale: the tags known here; the source cannot be asked\"");
        atomic_fetch_add_explicit(&x->registry->stale, 1, memory_order_relaxed);
    }
    if (l->text) {
        reply(l);
        return;
    }
    if (marked)
        serve_fetch_end(x->req, &l->end, REGERR_NAME_UNKNOWN);
    else
        serve_error(x->req, REGERR_NAME_UNKNOWN, NULL, NULL);
    list_free(l);
}

static void body_text(struct http_req *req, const char *text) {
    http_body_mem(req, text, strlen(text));
}

/* The next piece leaves; after the last one the list is complete. */
static void pass_on(struct tag_list *l) {
    struct http_req *req = l->x->req;
    if (!http_reply_started(req)) {
        serve_common_headers(l->x);
        http_reply_begin(req, 200, "application/json", -1);
        body_text(req, "{\"name\":\"");
        body_text(req, l->x->asked.path); /* a name holds no character that JSON would escape */
        body_text(req, "\",\"tags\":[");
    }
    if (l->text) {
        l->begun = true; /* the next tag is behind a comma */
        size_t len;
        const char *text = list_text_get(l->text, &len);
        http_body_ref(req, text, len, list_text_free, l->text);
    }
    l->text = NULL;
    if (l->has_next) {
        ask_page(l);
        return;
    }
    body_text(req, "]}");
    http_reply_end(req);
    list_free(l);
}

/* Cuts the answer, so that no client takes an incomplete list for a whole one. */
static void break_off(struct tag_list *l) {
    log_warn("tag_list_cut", KV_S("repository", l->x->repo_str), KV_S("request", http_req_id(l->x->req)),
             KV_S("why", l->end.msg));
    http_reply_abort(l->x->req);
    list_free(l);
}

static void failed(struct tag_list *l) {
    /* A source that refuses to make pages may still have the list. */
    bool refused = l->end.code == ERR_UPSTREAM && l->end.status >= 400 && l->end.status != 429;
    if (l->paged && !l->follows && refused) {
        l->paged = false;
        l->end = (struct fetch_end){0};
        l->query[0] = '\0';
        ask_page(l);
        return;
    }
    if (http_reply_started(l->x->req))
        break_off(l);
    else if ((l->one_page && l->query[0]) || l->follows)
        fail_page(l);
    else
        fall_back(l);
}

static void on_worked(struct loop_task *task) {
    struct tag_list *l = container_of(task, struct tag_list, turn.back);
    if (!exchange_back(l->x)) {
        list_free(l);
    } else if (l->from_store) {
        reply_from_store(l);
    } else if (l->end.code != 0) {
        failed(l);
    } else if (l->streams) {
        pass_on(l);
    } else if (l->text) {
        reply(l);
    } else if (l->has_next) {
        ask_page(l);
    } else {
        serve_error(l->x->req, REGERR_UNKNOWN, NULL, NULL);
        list_free(l);
    }
}

static void release_page(void *page) {
    ask_answer_unref(page);
}

/* Answers with the page as the source has it; the node that asked makes a list of the pages. */
static void reply_page(struct tag_list *l, const struct ask_answer *a) {
    struct exchange *x = l->x;
    char next[sizeof(l->query)];
    serve_common_headers(x);
    if (serve_query_of_link(a->link, next, sizeof(next))) serve_link_next(x, "tags/list", next);
    http_reply_ref(x->req, 200, "application/json", a->body, a->body_len, release_page, ask_answer_ref(a));
    list_free(l);
}

static void on_page(const struct ask_answer *a, void *arg) {
    struct tag_list *l = arg;
    struct exchange *x = l->x;
    if (!exchange_back(x)) {
        list_free(l);
        return;
    }
    http_req_note(x->req, "miss");
    if (a->warning) snprintf(x->warning, sizeof(x->warning), "%s", a->warning);
    l->end = a->end;
    if (a->end.code != 0) {
        failed(l);
        return;
    }
    if (l->one_page) {
        reply_page(l, a);
        return;
    }
    l->page = ask_answer_ref(a);
    char asked_for[sizeof(l->query)];
    memcpy(asked_for, l->query, sizeof(asked_for));
    l->has_next = serve_query_of_link(a->link, l->query, sizeof(l->query));
    if (l->follows && l->has_next && strcmp(asked_for, l->query) == 0) {
        fetch_end_set(&l->end, ERR_UPSTREAM, "%s repeats itself: a page of its list of tags is its own next",
                      a->source);
        failed(l);
        return;
    }
    bool whole = x->asked.n < 0 && !x->asked.has_last;
    if (whole && l->has_next && clock_mono_ms() - l->began_ms >= PATIENCE_MS) l->streams = true;
    submit(l, run_page);
}

/* The page that another node asks for, in the words of the source's own Link; "" for the first. */
static void query_of_node(const struct exchange *x, char *out, size_t cap) {
    const char *query = strchr(http_req_target(x->req), '?');
    size_t len = query ? strlen(query + 1) : 0;
    if (len > 0 && len < cap) memcpy(out, query + 1, len + 1);
}

/* The source's query in a request that follows a Link of ours; "" if it is no such request. Our own ns stands at its end
 * and is left out. */
static void query_of_link(const struct exchange *x, char *out, size_t cap) {
    const char *query = strchr(http_req_target(x->req), '?');
    if (!query || strncmp(query + 1, FOLLOWS, strlen(FOLLOWS)) != 0) return;
    query += 1 + strlen(FOLLOWS);
    const char *ns = x->asked.has_ns ? strstr(query, "&ns=") : NULL;
    size_t len = ns ? (size_t)(ns - query) : strlen(query);
    if (len >= cap) return;
    memcpy(out, query, len);
    out[len] = '\0';
}

/* What the source is asked for, for a client. */
static void ask_for_client(struct tag_list *l) {
    const struct oci_request *asked = &l->x->asked;
    query_of_link(l->x, l->query, sizeof(l->query));
    l->follows = l->query[0] != '\0';
    l->paged = l->follows || asked->n >= 0 || asked->has_last;
    if (l->paged && !l->follows) {
        size_t n = serve_page_size(asked);
        if (n > SOURCE_PAGE_MAX) n = SOURCE_PAGE_MAX;
        serve_query_after(n > 0 ? n : 1, asked->has_last ? asked->last : NULL, l->query, sizeof(l->query));
    }
    ask_page(l);
}

void serve_tags(struct exchange *x) {
    struct tag_list *l = xcalloc(1, sizeof(*l));
    if (slots_take(x->registry->tag_lists, &l->slot, &x->caller) < 0) {
        free(l);
        http_reply_header(x->req, "Retry-After", "1");
        serve_error(x->req, REGERR_TOOMANYREQUESTS, "too many lists of tags are being made for this client", NULL);
        return;
    }
    l->registry = x->registry;
    l->x = x;
    l->turn.back.fn = on_worked;
    l->began_ms = clock_mono_ms();
    l->from_store = serve_is_hosted(x);
    l->one_page = x->caller.kind == CALLER_NODE && !l->from_store;
    if (l->from_store) {
        http_req_answer_is_held(x->req);
        submit(l, run_store);
    } else if (l->one_page) {
        query_of_node(x, l->query, sizeof(l->query));
        ask_page(l);
    } else {
        ask_for_client(l);
    }
}
