/* One logical request to an upstream while it runs. Private to upstream_request.c, call.c, refusal.c, answer_body.c,
 * sign_in.c and answer_check.c. Thread: the fetch loop. */
#ifndef ENTREPOT_UPSTREAM_REQUEST_H
#define ENTREPOT_UPSTREAM_REQUEST_H

#include "common/upstream/upstream_private.h"
#include "common/source/failure.h"
#include "common/source/registry_client.h"

enum up_step {
    UP_QUEUED,   /* for one of max_parallel */
    UP_CHOOSING, /* an endpoint, from the loop */
    UP_SIGNING,  /* waiting for a token */
    UP_ASKING,   /* sent; no wanted answer yet. A refusal is read to its end here */
    UP_TELLING,  /* the wanted answer: its head was told, its body goes on */
    UP_RESTING,  /* before the next round over the endpoints */
    UP_WAITING,  /* as long as the endpoint asked for, to ask it again */
};

struct up_token {
    struct challenge challenge; /* what it answers */
    char *text;                 /* NULL: none */
    bool fresh;                 /* fetched for this try */
};

struct up_request {
    struct up_fetch f; /* first */
    struct fetch_listener listener;
    struct fetch_request rq; /* rq.query is ours */
    enum up_step step;
    struct timer timer; /* the step's */
    struct http_call *call;
    struct token_wait *wait;
    bool paused;

    /* Tries. */
    struct endpoint *e;
    unsigned tried, refused; /* endpoints: in this round; for good */
    unsigned round, waits;
    bool worth_retrying;
    struct endpoint *pulls_at; /* where this try is counted as a pull whose answer is awaited; NULL: nowhere */
    int64_t began_ms, sent_us;
    struct failures failures; /* of endpoints */

    /* Where this try goes, if not straight to the endpoint. */
    char *url;
    char proxy[160]; /* who may have answered in its stead, "" if nobody */
    bool away;       /* another origin: no credentials of the account's */
    unsigned redirects;
    bool restarted;   /* once already, because a signed URL had run out */
    bool whole;       /* asked for without Range: its parts are not those asked for */
    bool head_by_get; /* HEAD was refused, or is known to be */
    bool by_tag;      /* by_digest is asked for by a tag: it was not there by its digest */
    struct reference by_digest;
    bool head_refused; /* by other words than 404 */
    enum http_reach reach;

    /* Sign-in. */
    struct up_token own,
        there;            /* at the endpoint; where it sent us (another registry's, fetched without the account) */
    bool basic, foreseen; /* Basic goes along; nobody has asked for a token yet */
    bool renewed;         /* a token died before its time, in this try */
    unsigned sign_ins, there_sign_ins;

    /* An answer other than the wanted one. */
    int status;
    int64_t retry_after_s;
    char *location;
    bool ends_here;                /* a 416 that says: nothing comes after what is held */
    enum http_reach refused_reach; /* what who refused may name */
    struct challenge asked;
    bool refusal;
    struct registry_refusal refusal_body;

    /* The wanted answer. */
    bool told;
    struct fetch_head head; /* total and digest of the one that was told */
    char *link;             /* of it, as head tells it */
    struct registry_body body;
    bool flows; /* a blob's body, counted as one of its endpoint's */
    struct speed_sample sample;
};

/* The head is all that is wanted, and it is asked for as such. */
bool up_is_head(const struct up_request *r);
/* An answer has told what is left of the pull limit, or none comes. */
void up_pull_answered(struct up_request *r);
/* A manifest GET is what registries count. */
bool up_counts(const struct up_request *r);

/* Who answers, for people: "docker.io", "docker.io (by proxy 10.0.0.1:3128)". */
#define UP_WHO_MAX 240
const char *up_who(const struct up_request *r, char out[UP_WHO_MAX]);

/* call.c: sends what is to be sent now. */
void up_ask(struct up_request *r);

/* upstream_request.c: the steps others lead to. Everything that is under way for this try ends. */
void up_stop_try(struct up_request *r);
/* Back to the registry itself. */
void up_forget_target(struct up_request *r);
/* The endpoint has failed; it, or another, may be asked again. */
void up_failed(struct up_request *r, const struct fetch_end *end);
/* The endpoint has said no; only another may be asked. */
void up_refused(struct up_request *r, const struct fetch_end *end);

/* The last word. r is gone after it. */
void up_finish(struct up_request *r, const struct fetch_end *end);
/* After one of the caller's callbacks, with what it returned. False: the caller has cancelled in it, and r is gone. */
bool up_survives(struct up_request *r, bool goes_on) must_check;

/* answer_body.c: the call's events while the answer is the wanted one; false ends the call. */
bool up_tell_head(struct up_request *r, const struct http_answer *a) must_check;
bool up_tell_data(struct up_request *r, const char *data, size_t len) must_check;
/* A part other than the one asked for has come, or one whose place is not said, or no part at all. Some registries and
 * the caches before them do that to every Range: the whole is asked for, once, and what is held already is passed over.
 * False: that would tell no more. */
bool up_asks_for_whole(struct up_request *r) must_check;
/* A sample of the body is over: is it fast enough? */
void up_body_sample(struct up_request *r);
/* No more of it comes. */
void up_body_over(struct up_request *r);
/* Bytes a second since it came; -1: it is nearly over. */
int64_t up_body_speed(const struct up_request *r);

/* sign_in.c */
void up_sign(struct up_request *r);
void up_unauthorized(struct up_request *r);
/* A token that may have died before its time was refused with this status: true if a fresh one is tried, once. */
bool up_renews_token(struct up_request *r, int status) must_check;
void up_forget_token(struct up_token *t);
/* Trimmed first line of the password file; freed by the caller. NULL: no account is configured. ERR_UPSTREAM with
 * words: it is no verdict on what was asked for. */
int up_password(const struct upstream *u, char **out, struct fetch_end *end) must_check;

/* refusal.c: an answer other than the wanted one begins; part of its body has come (false: enough of it); it is over.
 */
void up_take_refusal(struct up_request *r, const struct http_answer *a);
bool up_refusal_data(struct up_request *r, const char *data, size_t len) must_check;
void up_refusal_over(struct up_request *r);
/* Asks again by GET, where HEAD was refused with this status (0: without an answer). False: that would tell no more.
 * The second for a refusal that is known to be of HEAD: 401 is, once a new token was sent. */
bool up_asks_by_get(struct up_request *r, int status) must_check;
bool up_head_by_get(struct up_request *r, int status) must_check;
/* GET has brought the head. */
void up_head_came_by_get(struct up_request *r);

/* answer_check.c: is this what was asked for? Fills h and what is to be passed over; or says what is wrong. */
int up_answer_check(struct up_request *r, const struct http_answer *a, struct fetch_head *h, int64_t *skip,
                    struct fetch_end *end) must_check;

#endif
