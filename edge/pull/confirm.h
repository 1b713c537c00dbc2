/* Are the settings that this edge goes by still central's? An open request tells (GET /fleet/v1/watch): its head names
 * their version, and it ends when central does, whose settings may be others when it is there again.
 *
 *   asking ── version told, and it is ours ──▶ confirmed ── it ends, or central refuses ours ──▶ asking
 *     │  ▲
 *     ▼  └── again after a while, when central is found again, or when a name is to be decided
 *    away (what is known last has to do)
 *
 * While it is asked, names wait, but no longer than for a known tag. While central is away they do not: but where a
 * try fails at once (refused: central is being restarted), each name is decided after a try that began after it was
 * asked for. A central that knows no watch is older: its settings are then asked for every few seconds only.
 *
 * Thread: the fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_PULL_CONFIRM_H
#define ENTREPOT_EDGE_PULL_CONFIRM_H

#include "common/http/client.h"
#include "common/serve/policy.h"
#include "edge/link/settings.h"

struct confirm;

struct confirm_config {
    const char *url; /* central's, borrowed */
    bool insecure;   /* do not check the certificate */
    struct loop *loop;
    struct http_client *client;
    const struct settings *settings;
    /* Central's settings are different, or may be: ask for them now. confirm_told must follow. */
    void (*ask)(void *arg);
    /* Central has answered a call under /fleet. */
    void (*found)(void *arg);
    void *arg;
};

struct confirm *confirm_new(const struct confirm_config *cfg);
void confirm_free(struct confirm *c);
/* Begins to watch. */
void confirm_begin(struct confirm *c);
/* Central was away, or has refused our settings: its earlier confirmation no longer counts. */
void confirm_doubt(struct confirm *c);
/* Call when its settings have been applied (good), or could not be fetched now. */
void confirm_told(struct confirm *c, bool good);
/* Any thread. */
bool confirm_is_settled(const struct confirm *c);
/* Serving loop, as in struct policy. */
void confirm_await(struct confirm *c, struct names_wait *w);

#endif
