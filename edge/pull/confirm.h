/* Watches whether this edge's settings are still those of central. It keeps a request open (GET /fleet/v1/watch). The
 * head of the answer names the version of central's settings. The answer ends when central stops; central may have
 * other settings when it is back.
 *
 *   asking ── version told, and it is ours ──▶ confirmed ── it ends, or central refuses ours ──▶ asking
 *     │  ▲
 *     ▼  └── after a while, when central can be reached again, or when a name is to be decided
 *    away (the last known settings are used)
 *
 * While it is asking, names wait, but no longer than for a known tag. While central is away they do not wait, with one
 * exception: if tries fail at once (connection refused, as while central restarts), a name waits for the first try that
 * began after the name was asked for. A central without this route is older: it is asked for its settings every few
 * seconds instead.
 *
 * Something on the way may hold an answer back until it is complete; then nothing comes of one without an end. If
 * nothing does although central answers other calls, the watch becomes polls: each ends after the next changes, or
 * after a few seconds. Their bodies begin before they end where nothing holds them back, and then it is a stream again.
 *
 * Thread: the fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_PULL_CONFIRM_H
#define ENTREPOT_EDGE_PULL_CONFIRM_H

#include "common/http/client.h"
#include "common/records/place.h"
#include "common/serve/policy.h"
#include "edge/link/settings.h"
#include "edge/link/uplink.h"

struct confirm;

struct confirm_config {
    const struct uplink *uplink; /* borrowed */
    struct loop *loop;
    struct http_client *client;
    const struct settings *settings;
    /* Central's settings are different, or may be: ask for them now. confirm_told must follow. */
    void (*ask)(void *arg);
    /* Who follows the changes that come by the same stream. All may be NULL together. */
    void (*from)(char out[PLACE_TEXT_MAX], void *arg);  /* what to ask for */
    bool with_dns;                                      /* and for what the DNS may answer */
    void (*stream_began)(uint64_t settings, void *arg); /* central's version of the settings */
    void (*stream_data)(const void *data, size_t len, void *arg);
    void (*stream_ended)(void *arg); /* after stream_began alone */
    void (*stream_paused)(
        void *arg); /* instead, if it was a poll and the next one goes on: stream_began or stream_ended
                                         follows. May be NULL: ended is called */
    /* Central has answered a call under /fleet. */
    void (*found)(void *arg);
    /* Central has refused this edge. */
    void (*refused)(const char *why, void *arg);
    /* A try to watch central has failed. May be NULL. */
    void (*failed)(void *arg);
    void *arg;
};

struct confirm *confirm_new(const struct confirm_config *cfg);
void confirm_free(struct confirm *c);
/* Begins to watch central. */
void confirm_begin(struct confirm *c);
/* Central was away, or has refused our settings: its earlier confirmation no longer counts. */
void confirm_doubt(struct confirm *c);
/* The stream is of no use: it is ended, and another begun. From the loop, not at once. */
void confirm_restart(struct confirm *c);
/* Call when its settings have been applied (good), or could not be fetched now. */
void confirm_told(struct confirm *c, bool good);
/* Any thread. */
bool confirm_is_settled(const struct confirm *c);
/* Any thread. The watch is made of polls. */
bool confirm_polls(const struct confirm *c);
/* Serving loop, as in struct policy. */
void confirm_await(struct confirm *c, struct names_wait *w);

#endif
