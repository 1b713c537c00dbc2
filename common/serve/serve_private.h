/* Shared by the files of this folder only. Thread: serving loop. */
#ifndef ENTREPOT_SERVE_SERVE_PRIVATE_H
#define ENTREPOT_SERVE_SERVE_PRIVATE_H

#include "common/http/range.h"
#include "common/oci/regerror.h"
#include "common/oci/request.h"
#include "common/source/ask.h"
#include "common/serve/doubt.h"
#include "common/serve/endpoints.h"
#include "common/serve/moves.h"
#include "common/serve/registry.h"
#include "common/serve/turn.h"
#include "common/access/slots.h"

struct registry {
    uint64_t serial; /* no two in a process have the same */
    struct registry_config cfg;
    struct doubts *doubts;
    struct moves *moves;
    struct turns *turns; /* lists that are being made */
    struct slots
        *tag_lists;     /* on their way, answers that a client is slow to take included; a long one takes megabytes */
    char hit_line[128]; /* the Cache-Status of what is held */
    size_t hit_line_len;
    char boundary[33]; /* of multipart answers */
    _Atomic int64_t hits, misses, joined, hit_bytes, fill_bytes, stale, negative, redirected;
};

/* One request under way: what was asked, resolved. Freed when the request closes. */
struct exchange {
    struct exchange *next_free;
    struct registry *registry;
    struct http_req *req; /* NULL once closed while an answer is still awaited */
    struct caller caller;
    struct oci_request asked;
    const struct endpoint_row *row; /* who answers it */
    struct repo_name repo;
    char repo_str[REPO_STR_MAX];
    uint32_t scope;       /* the repository's; 0: nothing was ever found in it */
    uint64_t scope_epoch; /* before it was looked up */
    uint64_t settings;    /* the version of those that have decided */
    struct names_wait names_wait;
    struct loop_task again;
    bool decided_again; /* the first decision was under outdated settings */
    bool told_ns;
    bool is_head;
    bool uses_ns;         /* ?ns= has decided which repository is meant */
    bool waiting;         /* a callback with this exchange is still to come */
    struct turn *turn;    /* the callback is this job's; NULL: another's */
    struct reference ref; /* what is served: a tag becomes its digest */
    char warning[300];    /* Warning header, "" for none */
    int64_t age_s;        /* since the tag was checked at its source; -1: not by tag */
    bool is_manifest;
    bool has_last;         /* by tag: its earlier manifest is held, for when the present one cannot be had */
    struct tag_facts last; /* that earlier one */
    bool restored;         /* the owner of what is hosted has been asked for it */
    struct body *body;
};

/* exchange.c. Before the first exchange of the process. */
void exchanges_prepare(void);
/* Fields on which nothing has been said yet are zero or empty; asked, repo and repo_str are not set. */
struct exchange *exchange_new(void);
void exchange_free(struct exchange *x);
/* The time by which its client must have an answer. */
struct deadline exchange_deadline(const struct exchange *x);
/* Ends an exchange's wait: false if the request has gone meanwhile (x is freed then). */
bool exchange_back(struct exchange *x);

/* message, detail: NULL for the table's own. */
void serve_error(struct http_req *req, enum regerror e, const char *message, const char *detail);
/* The same with another status than the code's own. */
void serve_error_status(struct http_req *req, int status, enum regerror e, const char *message);
/* Maps how a fetch ended to a registry error: 404 with `unknown` for a no, 429, 502, 504, … */
void serve_fetch_end(struct http_req *req, const struct fetch_end *end, enum regerror unknown);
void serve_common_headers(struct exchange *x);

/* memo.c: what a target meant the last time, under these rules: asked, repo, repo_str, scope and uses_ns. */
bool memo_find(struct exchange *x, const struct name_rules *rules, const char *target);
void memo_keep(const struct exchange *x, const struct name_rules *rules, const char *target);
/* blob.c */
void serve_content(struct exchange *x); /* x->ref is a digest */
void serve_blob(struct exchange *x);
/* restore.c: x->ref is a digest that is not held, or cannot be opened. True: its repository is hosted, and whoever
 * keeps that is asked; the answer follows. False: nobody knows more of it. */
bool serve_restore(struct exchange *x);
/* tag_check.c. Any loop. */
/* How long a source may take when there is something else to answer with. */
#define SERVE_PATIENCE_MS 3000
/* True if it is held as a manifest and may be served in this repository. */
bool tag_is_held(const struct registry *g, const struct digest *d, const struct repo_name *repo);
/* The same for the manifest that a tag pointed to last, which counts as held from the moment at which a client may have
 * had all of it. */
bool tag_last_is_held(const struct registry *g, const struct digest *d, const struct repo_name *repo);
/* True if the source need not be asked. For content hosted here (fresh_ms INT64_MAX) that is always so: reading it is
 * the check, and rec then says so. */
bool tag_is_fresh(struct tag_facts *rec, int64_t fresh_ms);
/* True if the source tells by itself where the tag points, under these settings: said then has it. */
bool tag_is_told(const struct registry *g, const struct repo_name *repo, uint64_t settings, const char *tag,
                 struct tag_facts *said);
/* Whether what is said of a tag is worth recording. */
bool tag_is_news(const struct tag_facts *known, const struct tag_facts *said);
/* Writes the text of a warning: the tag has moved to a manifest that cannot be had. why: a person reads it. */
void tag_say_moved(const struct tag_facts *to, const char *why, char *out, size_t cap);
/* manifest_answer.c */
void serve_manifest(struct exchange *x);
/* Called when the manifest that a tag points to now cannot be had: serves the earlier one, which is held, with a
 * Warning. False: there is none. */
bool serve_last_held(struct exchange *x, const struct fetch_end *why);
/* tag_list.c */
void serve_tags(struct exchange *x);
/* referrers.c */
void serve_referrers(struct exchange *x);
/* list.c */
void serve_catalog(struct exchange *x);
/* Has t run in the threads for lists, in its caller's turn; x waits until t's back. False: too much of this caller's
 * waits already; that was answered, unless an answer had begun. */
bool serve_turn(struct exchange *x, struct turn *t);
/* True if its repository is hosted, so that no source can be asked. */
bool serve_is_hosted(const struct exchange *x);
/* Entries of the page that was asked for. */
size_t serve_page_size(const struct oci_request *rq);
/* Asks x's source what x asks, query included. */
void serve_ask(struct exchange *x, enum fetch_kind kind, void (*done)(const struct ask_answer *a, void *arg));
/* A Link header to the next page under our own path. query: encoded already. */
void serve_link_next(struct exchange *x, const char *what, const char *query);
/* A Link header to what follows `last`, in pages of max; what: the end of the path after the repository. */
void serve_link_after(struct exchange *x, const char *what, size_t max, const char *last);
/* "n=MAX&last=LAST" into out; last: NULL for none. "" if it is too long. */
void serve_query_after(size_t max, const char *last, char *out, size_t cap);
/* The query inside a source's Link header: `</v2/…?QUERY>; rel="next"`. False if it is not such a link. */
bool serve_query_of_link(const char *link, char *out, size_t cap);
/* Answers 200 with the common headers and a list's text; an error if text is NULL; 503 if the budget LISTS does not
 * allow it. Takes the text, and with it `taken` bytes of that budget. */
void serve_list_text(struct exchange *x, char *text, int64_t taken, const char *type);
/* Answers 503: no further list fits into memory. */
void serve_no_room(struct exchange *x);

/* blob_body.c: answers with (part of) one blob. From a committed file: a reference that is taken; NULL for HEAD. */
void body_send_held(struct exchange *x, struct open_file *file, int64_t size, const char *media_type);
/* The whole answer to a HEAD of what is not held, as its source has told of it; source: its name, "" unknown. size -1:
 * not known. */
void body_head_unheld(struct exchange *x, const char *source, int64_t size, const char *media_type);
/* A range is asked for that does not begin at the start. */
bool body_begins_later(const struct exchange *x);
/* x->ref, a digest, from behind a fill, as it grows. */
void body_follow(struct exchange *x);
/* The request has closed. */
void body_free(struct body *b);
/* What was being sent from the store is held no more (dropped), and the rest is sent from elsewhere; or the answer is
 * cut. */
void body_resume(struct exchange *x, bool dropped);
/* unreadable.c: the disk does not give back what is being sent from that file. The store hears of it, then
 * body_resume is called. */
void serve_unreadable(struct exchange *x, struct open_file *file);

#endif
