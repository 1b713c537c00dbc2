/* One logical request to an upstream while it runs. Private to request.c, body.c, sign_in.c and answer.c. Thread: the
 * fetch loop. */
#ifndef ENTREPOT_CENTRAL_UPSTREAM_REQUEST_H
#define ENTREPOT_CENTRAL_UPSTREAM_REQUEST_H

#include "central/upstream/upstream_private.h"

enum up_step {
    UP_QUEUED,   /* for one of max_parallel */
    UP_CHOOSING, /* an endpoint, from the loop */
    UP_SIGNING,  /* waiting for a token */
    UP_ASKING,   /* sent; no wanted answer yet. A refusal is read to its end here */
    UP_TELLING,  /* the wanted answer: its head was told, its body goes on */
    UP_RESTING,  /* before the next round over the endpoints */
    UP_WAITING,  /* as long as the endpoint asked for, to ask it again */
};

struct up_request {
    struct up_fetch f; /* first */
    const struct fetch_events *ev;
    void *arg;
    struct fetch_request rq; /* rq.query is ours */
    enum up_step step;
    struct timer timer; /* the step's */
    struct http_call *call;
    struct token_wait *wait;
    bool paused, in_callback, cancelled;

    /* Tries. */
    struct endpoint *e;
    unsigned tried, refused; /* endpoints: in this round; for good */
    unsigned round, waits;
    bool worth_retrying;
    int64_t began_ms, sent_us;
    struct fetch_end worst; /* the most telling failure */
    const struct endpoint *worst_of;

    /* Where this try goes, if not straight to the endpoint. */
    char *url;
    bool away; /* another origin: no credentials */
    unsigned redirects;
    bool restarted;   /* once already, because a signed URL had run out */
    bool head_by_get; /* where HEAD is not allowed at the redirect's target */
    enum http_reach reach;

    /* Sign-in. */
    struct challenge challenge; /* that token answers */
    char *token;
    bool fresh, basic, foreseen; /* token was fetched for this try; Basic goes along; nobody has asked for one yet */
    unsigned sign_ins;

    /* An answer other than the wanted one. */
    int status;
    char retry_after[64];
    char *location;
    struct challenge asked;
    size_t refusal_bytes;
    bool refusal;
    struct buf refusal_body;

    /* The wanted answer. */
    bool told;
    struct fetch_head head;    /* total and digest of the one that was told */
    int64_t given, skip, left; /* bytes told; still to pass over; still wanted, -1: to the end */
    bool flows;                /* a blob's body, counted as one of its endpoint's */
    struct stretch stretch;
};

bool up_is_head(const struct up_request *r);
/* A manifest GET is what registries count. */
bool up_counts(const struct up_request *r);

/* request.c: the steps others lead to. */
void up_ask(struct up_request *r);
/* The endpoint has failed; it, or another, may be asked again. */
void up_failed(struct up_request *r, const struct fetch_end *end);
/* The endpoint has said no; only another may be asked. */
void up_refused(struct up_request *r, const struct fetch_end *end);

/* The last word. r is gone after it. */
void up_finish(struct up_request *r, const struct fetch_end *end);
/* After one of the caller's callbacks (in_callback was set), which may cancel. False: r is gone. */
bool up_survives(struct up_request *r) must_check;

/* body.c: the call's events while the answer is the wanted one; false ends the call. */
bool up_tell_head(struct up_request *r, const struct http_answer *a) must_check;
bool up_tell_data(struct up_request *r, const char *data, size_t len) must_check;
/* A stretch of the body is over: is it fast enough? */
void up_body_stretch(struct up_request *r);
/* No more of it comes. */
void up_body_over(struct up_request *r);

/* sign_in.c */
void up_sign(struct up_request *r);
void up_unauthorized(struct up_request *r);
void up_forget_token(struct up_request *r);
/* Trimmed first line of the password file; freed by the caller. NULL: no account is configured. ERR_UPSTREAM with
 * words: it is no verdict on what was asked for. */
int up_password(const struct upstream *u, char **out, struct fetch_end *end) must_check;

/* answer.c: is this what was asked for? Fills h and what is to be passed over; or says what is wrong. Pure. */
int up_answer_check(const struct up_request *r, const struct http_answer *a, struct fetch_head *h, int64_t *skip,
                    struct fetch_end *end) must_check;

#endif
