/* Signing in to a registry: no credentials until it asks, then what it asked for, ahead of time for its other
 * repositories. Thread: the fetch loop. */
#include <stdio.h>
#include <string.h>

#include "central/upstream/redirect.h"
#include "central/upstream/request.h"
#include "common/core/file.h"

#define PASSWORD_FILE_MAX (16 * 1024)
#define SIGN_INS_MAX 2 /* for one try: with a token foreseen, and with the one asked for */

int up_password(const struct upstream *u, char **out, struct fetch_end *end) {
    *out = NULL;
    if (!u->cfg->username || !u->cfg->password_file) return 0;
    struct error err = {0};
    size_t len;
    if (file_read_all(u->cfg->password_file, PASSWORD_FILE_MAX, out, &len, &err) < 0)
        return fetch_end_set(end, ERR_UPSTREAM, "password of %.80s: %.160s", u->cfg->name, err.msg);
    char *line = *out;
    size_t start = strspn(line, " \t\r\n"), n = strcspn(line + start, "\r\n");
    while (n && (line[start + n - 1] == ' ' || line[start + n - 1] == '\t'))
        n--;
    memmove(line, line + start, n);
    line[n] = '\0';
    return 0;
}

static void default_scope(const struct up_request *r, char out[SCOPE_MAX + 1]) {
    snprintf(out, SCOPE_MAX + 1, "repository:%s:pull", r->rq.repo.path);
}

static struct token_ask ask_of(const struct up_request *r) {
    const struct upstream *u = r->f.u;
    struct http_url realm;
    bool own = http_url_parse(r->challenge.realm, &realm) && origin_same(&realm, &r->e->parts);
    return (struct token_ask){.realm = r->challenge.realm,
                              .service = r->challenge.service,
                              .scope = r->challenge.scope,
                              .username = u->cfg->username,
                              .ca_file = u->cfg->ca_file,
                              .request_id = r->rq.request_id,
                              .reach = own ? HTTP_REACH_ANY : r->e->reach};
}

void up_forget_token(struct up_request *r) {
    free(r->token);
    r->token = NULL;
    r->fresh = false;
}

static void use_token(struct up_request *r, const char *token, bool fresh) {
    up_forget_token(r);
    r->token = strdup(token);
    if (!r->token) abort();
    r->fresh = fresh;
    up_ask(r);
}

static void on_token(const char *token, const struct fetch_end *end, void *arg) {
    struct up_request *r = arg;
    r->wait = NULL;
    if (token) {
        use_token(r, token, true);
        return;
    }
    bool definite = end->code == ERR_DENIED || end->code == ERR_RATE_LIMITED;
    if (r->foreseen && !definite) {
        /* Perhaps it wants another kind by now: let it ask. */
        r->e->knows_bearer = false;
        up_ask(r);
    } else if (definite) {
        up_refused(r, end);
    } else {
        up_failed(r, end);
    }
}

/* Gets the token that r->challenge asks for. */
static void get_token(struct up_request *r) {
    struct upstream *u = r->f.u;
    struct token_ask ask = ask_of(r);
    const char *held = token_held(u->tokens, &ask);
    if (held) {
        use_token(r, held, false);
        return;
    }
    struct fetch_end end;
    char *password;
    if (up_password(u, &password, &end) < 0) {
        up_refused(r, &end);
        return;
    }
    ask.password = password;
    if (!password) ask.username = NULL;
    r->step = UP_SIGNING;
    r->wait = token_fetch(u->tokens, &ask, on_token, r);
    atomic_store_explicit(&u->tokens_fetched, token_fetches(u->tokens), memory_order_relaxed);
    free(password);
}

void up_sign(struct up_request *r) {
    struct endpoint *e = r->e;
    up_forget_token(r);
    r->basic = e->knows_basic;
    r->foreseen = e->knows_bearer && !r->basic;
    r->sign_ins = r->foreseen;
    if (!r->foreseen) {
        up_ask(r);
        return;
    }
    r->challenge = e->challenge;
    default_scope(r, r->challenge.scope);
    get_token(r);
}

static void denied(struct up_request *r, const char *why) {
    struct fetch_end end;
    fetch_end_set(&end, ERR_DENIED, "%.80s answered 401 for %.80s: %s", r->f.u->cfg->name, r->rq.repo.path, why);
    end.status = 401;
    up_refused(r, &end);
}

static void answer_bearer(struct up_request *r) {
    struct endpoint *e = r->e;
    struct challenge asked = r->asked;
    char usual[SCOPE_MAX + 1];
    default_scope(r, usual);
    if (!asked.scope[0]) snprintf(asked.scope, sizeof(asked.scope), "%s", usual);
    bool same = r->token && strcmp(asked.realm, r->challenge.realm) == 0 &&
                strcmp(asked.service, r->challenge.service) == 0 && strcmp(asked.scope, r->challenge.scope) == 0;
    if (same && r->fresh) {
        denied(r, r->f.u->cfg->username ? "the account may not pull it, or it does not exist"
                                        : "it does not exist, or needs an account (username, password_file)");
        return;
    }
    if (!realm_is_usable(&e->parts, asked.realm)) {
        struct fetch_end end;
        fetch_end_set(&end, ERR_UPSTREAM, "%.80s names an unusable token service (%.100s)", r->f.u->cfg->name,
                      asked.realm);
        up_refused(r, &end);
        return;
    }
    if (r->sign_ins++ >= SIGN_INS_MAX) {
        denied(r, "it asks for one token after another");
        return;
    }
    e->knows_basic = r->basic = false;
    /* Other repositories' tokens are fetched ahead only if the scope is what can be foreseen. */
    e->knows_bearer = strcmp(asked.scope, usual) == 0;
    e->challenge = asked;
    r->challenge = asked;
    r->foreseen = false;
    get_token(r);
}

void up_unauthorized(struct up_request *r) {
    if (r->token) {
        struct token_ask ask = ask_of(r);
        token_drop(r->f.u->tokens, &ask, r->token);
    }
    if (r->asked.bearer) {
        answer_bearer(r);
    } else if (!r->asked.basic) {
        denied(r, "without saying how to sign in");
    } else if (!r->f.u->cfg->username) {
        denied(r, "it needs an account (username, password_file)");
    } else if (r->basic) {
        denied(r, "the user name or password is wrong, or it does not exist");
    } else {
        r->e->knows_basic = r->basic = true;
        up_ask(r);
    }
}
