/* tags/list. A source's list is taken whole, put in order and paged here, for not every registry pages or keeps the
 * order the specification asks for; when it cannot be asked, what is known here is listed and marked. Lists may have
 * 100,000 tags: they are read, sorted and written in the work pool. Thread: serving loop, but for what is marked.
 *
 *   ask ─▶ one page (pool) ─▶ ask for the next … ─▶ last page: sort, write (pool) ─▶ reply
 *    └ cannot be asked ─▶ what the store knows (pool) ─▶ reply, marked */
#include "common/serve/serve_private.h"

#include "common/core/workpool.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define TAGS_MAX 100000
#define TAG_PAGES_MAX 200
#define LISTS_MAX 64     /* on their way, answers that a client is slow to take included; a long one takes megabytes */
#define STORE_BATCH 2000 /* tags of the store at a time: its lock is held meanwhile */

struct tag_list {
    struct registry *registry;
    struct exchange *x; /* waits while the pool works: what was asked is not changed meanwhile */
    struct work work;
    struct loop_task back;
    struct loop *loop;
    char **tags;
    size_t n, cap;
    unsigned pages;
    struct fetch_end end;
    /* The page to be read. */
    struct ask_answer *page;
    char query[2048];
    bool has_next, from_store;
    /* The answer; NULL: there is nothing to list. */
    char *text;
    char *last; /* the page ends with this one, and more follow; NULL: it is the last page */
    size_t page_max;
};

static void forget_tags(struct tag_list *l) {
    for (size_t i = 0; i < l->n; i++)
        free(l->tags[i]);
    free(l->tags);
    l->tags = NULL;
    l->n = l->cap = 0;
}

static void list_free(struct tag_list *l) {
    atomic_fetch_sub_explicit(&l->registry->tag_lists, 1, memory_order_relaxed);
    forget_tags(l);
    ask_answer_unref(l->page);
    free(l->text);
    free(l->last);
    free(l);
}

/* --- work pool --- */

static void add(struct tag_list *l, char *tag) {
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->tags = realloc(l->tags, l->cap * sizeof(*l->tags));
        if (!l->tags) abort();
    }
    l->tags[l->n++] = tag;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In order, each once. */
static void sort(struct tag_list *l) {
    if (l->n == 0) return;
    qsort(l->tags, l->n, sizeof(*l->tags), by_name);
    size_t kept = 1;
    for (size_t i = 1; i < l->n; i++) {
        if (strcmp(l->tags[i], l->tags[kept - 1]) == 0)
            free(l->tags[i]);
        else
            l->tags[kept++] = l->tags[i];
    }
    l->n = kept;
}

/* The page that was asked for, of the sorted list, which is then no longer needed. */
static void write_page(struct tag_list *l) {
    const struct oci_request *asked = &l->x->asked;
    size_t i = 0;
    l->page_max = asked->n < 0 ? l->n : serve_page_size(asked);
    json_t *list = json_array();
    while (asked->has_last && i < l->n && strcmp(l->tags[i], asked->last) <= 0)
        i++;
    for (; i < l->n && json_array_size(list) < l->page_max; i++)
        json_array_append_new(list, json_string(l->tags[i]));
    if (i > 0 && i < l->n && !(l->last = strdup(l->tags[i - 1]))) abort();
    json_t *doc = json_pack("{s:s, s:o}", "name", asked->path, "tags", list);
    l->text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    forget_tags(l);
}

/* One page into the list; false if it is not one. */
static bool read_page(struct tag_list *l) {
    json_t *doc = json_loadb(l->page->body, l->page->body_len, 0, NULL), *list = json_object_get(doc, "tags"), *tag;
    bool good = json_is_object(doc) && (!list || json_is_array(list) || json_is_null(list));
    size_t i;
    json_array_foreach(list, i, tag) {
        const char *text = json_string_value(tag);
        if (!text || tag_check(text, strlen(text)) < 0 || l->n == TAGS_MAX) continue;
        char *copy = strdup(text);
        if (!copy) abort();
        add(l, copy);
    }
    json_decref(doc);
    return good;
}

static void run_page(struct work *w) {
    struct tag_list *l = container_of(w, struct tag_list, work);
    bool good = read_page(l);
    if (!good) {
        fetch_end_set(&l->end, ERR_UPSTREAM, "%s sends a list of tags that is not readable", l->page->source);
    } else if (!l->has_next) {
        sort(l);
        write_page(l);
    }
    loop_post(l->loop, &l->back);
}

static void run_store(struct work *w) {
    struct tag_list *l = container_of(w, struct tag_list, work);
    struct store *store = l->x->registry->cfg.store;
    size_t got = STORE_BATCH;
    forget_tags(l); /* of a source that then failed */
    while (got == STORE_BATCH && l->n < TAGS_MAX) {
        char **some = NULL;
        got = store_tags(store, l->x->repo_str, l->n ? l->tags[l->n - 1] : "", STORE_BATCH, &some);
        for (size_t i = 0; i < got; i++)
            add(l, some[i]);
        free(some);
    }
    if (l->n > 0) write_page(l);
    loop_post(l->loop, &l->back);
}

static void submit(struct tag_list *l, void (*run)(struct work *w)) {
    l->work.fn = run;
    l->x->waiting = true;
    workpool_submit(l->x->registry->cfg.pool, &l->work);
}

/* --- serving loop --- */

static void on_page(const struct ask_answer *a, void *arg);

static void ask_page(struct tag_list *l, const char *query) {
    struct exchange *x = l->x;
    struct fetch_request rq = {.kind = FETCH_TAGS, .repo = x->repo, .query = query};
    snprintf(rq.request_id, sizeof(rq.request_id), "%s", http_req_id(x->req));
    x->waiting = true;
    ask(x->registry->asker, &rq, on_page, l);
}

static void release(void *list) {
    list_free(list);
}

/* The list goes with its answer. */
static void reply(struct tag_list *l) {
    struct exchange *x = l->x;
    serve_common_headers(x);
    if (l->page_max > 0 && l->last) serve_link_after(x, "tags/list", l->page_max, l->last);
    http_reply_ref(x->req, 200, "application/json", l->text, strlen(l->text), release, l);
}

/* What is known here, if anything is, stands in for what could not be asked. */
static void fall_back(struct tag_list *l) {
    struct exchange *x = l->x;
    if (l->end.code == ERR_NOT_FOUND || l->end.code == ERR_DENIED) {
        serve_fetch_end(x->req, &l->end, REGERR_NAME_UNKNOWN);
        list_free(l);
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

static void on_worked(struct loop_task *task) {
    struct tag_list *l = container_of(task, struct tag_list, back);
    if (!exchange_back(l->x)) {
        list_free(l);
    } else if (l->from_store) {
        reply_from_store(l);
    } else if (l->end.code != 0) {
        fall_back(l);
    } else if (l->has_next) {
        ask_page(l, l->query);
    } else if (l->text) {
        reply(l);
    } else {
        serve_error(l->x->req, REGERR_UNKNOWN, NULL, NULL);
        list_free(l);
    }
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
        fall_back(l);
        return;
    }
    ask_answer_unref(l->page);
    l->page = ask_answer_ref(a);
    l->has_next = ++l->pages < TAG_PAGES_MAX && serve_query_of_link(a->link, l->query, sizeof(l->query));
    submit(l, run_page);
}

void serve_tags(struct exchange *x) {
    if (atomic_fetch_add_explicit(&x->registry->tag_lists, 1, memory_order_relaxed) >= LISTS_MAX) {
        atomic_fetch_sub_explicit(&x->registry->tag_lists, 1, memory_order_relaxed);
        http_reply_header(x->req, "Retry-After", "1");
        serve_error(x->req, REGERR_TOOMANYREQUESTS, "too many lists of tags are being made", NULL);
        return;
    }
    struct tag_list *l = calloc(1, sizeof(*l));
    if (!l) abort();
    l->registry = x->registry;
    l->x = x;
    l->loop = http_req_loop(x->req);
    l->back.fn = on_worked;
    l->from_store = serve_is_hosted(x);
    if (l->from_store) {
        http_req_answer_is_near(x->req);
        submit(l, run_store);
    } else {
        ask_page(l, NULL);
    }
}
