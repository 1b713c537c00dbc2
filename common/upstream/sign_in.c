/* Signs in to a registry: sends no credentials until it asks for them, then those, and for its other repositories in
 * advance. Thread: the fetch loop. */
#include <stdio.h>
#include <string.h>

#include "common/upstream/redirect.h"
#include "common/upstream/upstream_request.h"
#include "common/core/alloc.h"
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

/* Where the request goes now. */
static struct up_token *token_here(struct up_request *r) {
    return r->away ? &r->there : &r->own;
}

static void origin_here(const struct up_request *r, struct http_url *out) {
    if (!r->away || !http_url_parse(r->url, out)) *out = r->e->parts;
}

/* What another registry calls the repository, as its URL says: /v2/NAME/manifests/… */
static void repository_there(const struct up_request *r, char *out, size_t cap) {
    static const char *const ends[] = {"/manifests/", "/blobs/", "/tags/", "/referrers/"};
    const char *name = strstr(r->url, "/v2/");
    snprintf(out, cap, "%s", r->rq.repo.path);
    for (size_t i = 0; name && i < ARRAY_LEN(ends); i++) {
        const char *end = strstr(name, ends[i]);
        if (!end || end < name + 4) continue;
        snprintf(out, cap, "%.*s", (int)(end - name - 4), name + 4);
        return;
    }
}

static void default_scope(const struct up_request *r, char out[SCOPE_MAX + 1]) {
    char name[SCOPE_MAX - 32];
    if (r->away)
        repository_there(r, name, sizeof(name));
    else
        endpoint_repository(r->e, r->rq.repo.path, name, sizeof(name));
    snprintf(out, SCOPE_MAX + 1, "repository:%s:pull", name);
}

/* How close to us the token service may be: no closer than the server that names it, and no closer than the one that
 * redirected there. */
static enum http_reach reach_of_realm(const struct up_request *r, const char *text) {
    struct http_url realm, here;
    origin_here(r, &here);
    bool own = http_url_parse(text, &realm) && origin_same(&realm, &here);
    if (!r->away) return own ? HTTP_REACH_ANY : r->e->reach;
    if (own || r->reach == HTTP_REACH_ANY) return r->reach;
    return r->refused_reach < r->reach ? r->refused_reach : r->reach;
}

/* The account goes to the token service that the configured endpoint names, and to no other. */
static struct token_ask ask_of(struct up_request *r) {
    const struct upstream *u = r->f.u;
    const struct challenge *c = &token_here(r)->challenge;
    return (struct token_ask){.realm = c->realm,
                              .service = c->service,
                              .scope = c->scope,
                              .username = r->away ? NULL : u->cfg->username,
                              .ca_file = u->cfg->ca_file,
                              .request_id = r->rq.request_id,
                              .reach = reach_of_realm(r, c->realm)};
}

void up_forget_token(struct up_token *t) {
    free(t->text);
    t->text = NULL;
    t->fresh = false;
}

static void use_token(struct up_request *r, const char *text, bool fresh) {
    struct up_token *t = token_here(r);
    up_forget_token(t);
    t->text = xstrdup(text);
    t->fresh = fresh;
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
    if (r->foreseen && end->code != ERR_RATE_LIMITED) {
        /* It may want another kind of sign-in by now, or have named another service for another repository alone, so
         * let it ask again. */
        r->e->knows_bearer = false;
        up_ask(r);
    } else if (definite) {
        up_refused(r, end);
    } else {
        up_failed(r, end);
    }
}

/* Gets the token that the challenge of here asks for. */
static void get_token(struct up_request *r) {
    struct upstream *u = r->f.u;
    struct token_ask ask = ask_of(r);
    const char *held = token_held(u->tokens, &ask);
    if (held) {
        use_token(r, held, false);
        return;
    }
    struct fetch_end end;
    char *password = NULL;
    if (ask.username && up_password(u, &password, &end) < 0) {
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
    up_forget_token(&r->own);
    r->basic = e->knows_basic;
    r->foreseen = e->knows_bearer && !r->basic;
    r->sign_ins = r->foreseen;
    if (!r->foreseen) {
        up_ask(r);
        return;
    }
    r->own.challenge = e->challenge;
    default_scope(r, r->own.challenge.scope);
    get_token(r);
}

static void drop_token(struct up_request *r) {
    struct up_token *t = token_here(r);
    struct token_ask ask = ask_of(r);
    if (t->text) token_drop(r->f.u->tokens, &ask, t->text);
}

/* Some registries answer an expired token by 400 or 403, or by a 401 without a challenge. */
bool up_renews_token(struct up_request *r, int status) {
    struct up_token *t = token_here(r);
    if (!t->text || t->fresh || r->renewed || (status != 400 && status != 401 && status != 403)) return false;
    r->renewed = true;
    drop_token(r);
    up_forget_token(t);
    get_token(r);
    return true;
}

static void denied(struct up_request *r, const char *why) {
    struct fetch_end end;
    struct http_url here;
    origin_here(r, &here);
    if (r->away)
        fetch_end_set(&end, ERR_DENIED, "%.80s redirected to %.80s, which answered 401: %s", r->f.u->cfg->name,
                      here.host, why);
    else
        fetch_end_set(&end, ERR_DENIED, "%.80s answered 401 for %.80s: %s", r->f.u->cfg->name, r->rq.repo.path, why);
    end.status = 401;
    up_refused(r, &end);
}

static const char *why_refused(const struct up_request *r) {
    if (r->away) return "it does not exist there, or needs an account, and the account is not sent to other hosts";
    return r->f.u->cfg->username ? "the account may not pull it, or it does not exist"
                                 : "it does not exist, or needs an account (username, password_file)";
}

static void learn_challenge(struct endpoint *e, const struct challenge *asked, const char *usual) {
    e->knows_basic = false;
    /* Other repositories' tokens are fetched ahead only if the scope is what can be foreseen. */
    e->knows_bearer = strcmp(asked->scope, usual) == 0;
    e->challenge = *asked;
}

static void answer_bearer(struct up_request *r) {
    struct up_token *t = token_here(r);
    struct challenge asked = r->asked;
    struct http_url here;
    char usual[SCOPE_MAX + 1];
    origin_here(r, &here);
    default_scope(r, usual);
    if (!asked.scope[0]) snprintf(asked.scope, sizeof(asked.scope), "%s", usual);
    bool same = t->text && strcmp(asked.realm, t->challenge.realm) == 0 &&
                strcmp(asked.service, t->challenge.service) == 0 && strcmp(asked.scope, t->challenge.scope) == 0;
    if (same && t->fresh) {
        /* Some take the token for GET alone. */
        if (!up_head_by_get(r, 401)) denied(r, why_refused(r));
        return;
    }
    if (!realm_is_usable(&here, asked.realm)) {
        struct fetch_end end;
        struct http_url realm;
        bool is_url = http_url_parse(asked.realm, &realm);
        /* Its host alone: the rest may be signed. */
        fetch_end_set(&end, ERR_UPSTREAM, "%.80s names an unusable token service (%.100s)", r->f.u->cfg->name,
                      is_url ? realm.host : "its realm is not an http or https URL");
        up_refused(r, &end);
        return;
    }
    unsigned *sign_ins = r->away ? &r->there_sign_ins : &r->sign_ins;
    if ((*sign_ins)++ >= SIGN_INS_MAX) {
        denied(r, "it refuses one token after another");
        return;
    }
    if (!r->away) {
        r->basic = false;
        learn_challenge(r->e, &asked, usual);
    }
    t->challenge = asked;
    r->foreseen = false;
    get_token(r);
}

void up_unauthorized(struct up_request *r) {
    drop_token(r);
    if (r->asked.bearer) {
        answer_bearer(r);
    } else if (r->away || !r->asked.basic) {
        denied(r, r->away ? why_refused(r) : "without saying how to sign in");
    } else if (!r->f.u->cfg->username) {
        denied(r, "it needs an account (username, password_file)");
    } else if (r->basic) {
        if (!up_head_by_get(r, 401)) denied(r, "the user name or password is wrong, or it does not exist");
    } else {
        r->e->knows_basic = r->basic = true;
        up_ask(r);
    }
}
