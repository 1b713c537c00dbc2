/* Reading WWW-Authenticate. A challenge is a scheme and then a token68 or parameters; commas part both the parameters
 * and the challenges, so a word is a parameter's name if '=' follows, else the next scheme. Thread: any. */
#include "common/upstream/challenge.h"

#include <string.h>
#include <strings.h>

#define WORD_MAX 32

static bool is_token(char c) {
    return c > 0x20 && c < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", c);
}

static const char *skip(const char *p, const char *set) {
    return p + strspn(p, set);
}

/* Reads a word; longer ones are cut, which no name of ours is. */
static const char *read_word(const char *p, char out[WORD_MAX]) {
    size_t n = 0;
    for (; is_token(*p); p++) {
        if (n < WORD_MAX - 1) out[n++] = *p;
    }
    out[n] = '\0';
    return p;
}

/* Reads a token or quoted string into out. *ok: it fits, is closed, and holds no control or high bytes. */
static const char *read_value(const char *p, char *out, size_t cap, bool *ok) {
    size_t n = 0;
    bool quoted = *p == '"';
    *ok = true;
    if (quoted) p++;
    while (*p && (quoted ? *p != '"' : *p != ',' && *p != ' ' && *p != '\t')) {
        if (quoted && *p == '\\' && p[1]) p++;
        if (n + 1 >= cap || *p < 0x20 || *p > 0x7e)
            *ok = false;
        else
            out[n++] = *p;
        p++;
    }
    out[n] = '\0';
    if (!quoted) return p;
    if (*p != '"') {
        *ok = false;
        return p;
    }
    return p + 1;
}

/* One Bearer challenge while it is being read. */
struct bearer {
    bool open, bad;
    struct challenge params;
};

static void close_bearer(struct bearer *b, struct challenge *c) {
    if (b->open && !b->bad && b->params.realm[0] && !c->bearer) {
        bool basic = c->basic;
        *c = b->params;
        c->bearer = true;
        c->basic = basic;
    }
    *b = (struct bearer){0};
}

static const char *read_param(const char *p, const char *name, struct bearer *b) {
    char other[SCOPE_MAX + 1], *to = other;
    size_t cap = sizeof(other);
    if (b->open && strcasecmp(name, "realm") == 0) {
        to = b->params.realm;
        cap = sizeof(b->params.realm);
    } else if (b->open && strcasecmp(name, "service") == 0) {
        to = b->params.service;
        cap = sizeof(b->params.service);
    } else if (b->open && strcasecmp(name, "scope") == 0) {
        to = b->params.scope;
        cap = sizeof(b->params.scope);
    }
    bool ok;
    p = read_value(p, to, cap, &ok);
    if (to != other && !ok) b->bad = true;
    return p;
}

void challenge_add(struct challenge *c, const char *value) {
    struct bearer b = {0};
    const char *p = value;
    for (;;) {
        char word[WORD_MAX];
        p = skip(p, " \t,");
        if (!*p) break;
        const char *after = read_word(p, word);
        if (after == p) {
            p++; /* a character that belongs nowhere */
            continue;
        }
        const char *eq = skip(after, " \t");
        if (*eq == '=') {
            p = read_param(skip(eq + 1, " \t"), word, &b);
            continue;
        }
        close_bearer(&b, c);
        p = after;
        if (strcasecmp(word, "basic") == 0) c->basic = true;
        if (strcasecmp(word, "bearer") == 0) b.open = true;
    }
    close_bearer(&b, c);
}
