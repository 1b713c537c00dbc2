/* Tries the addresses of central one after another. Thread: the fetch loop, but for what is marked. */
#include "edge/link/roam.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/core/offload.h"
#include "common/wire/upstreams.h"
#include "edge/link/breaker.h"

#define CONNECT_MS 2000
#define TOTAL_MS 5000
/* At least so long between two rounds. */
#define ROUND_MS 2000
#define URL_ROOM (WIRE_ADDRESS_MAX + 16)

struct roam {
    struct roam_config cfg;
    struct http_call *call;
    bool round; /* a round is under way */
    bool found; /* the head of the present call was central's */
    int64_t began_ms;
    char urls[WIRE_ADDRESSES_MAX + 1][URL_ROOM];
    size_t n, at;
    struct offload work;
    bool saving;
    char note[2 * URL_ROOM + 8];
};

static void try_next(struct roam *r);

/* --- keeping where it was found --- */

static void save(struct offload *o) {
    struct roam *r = container_of(o, struct roam, work);
    struct error err = {0};
    if (identity_write(r->cfg.data, "central", r->note, strlen(r->note), &err) < 0)
        log_warn("central_address_not_saved", KV_S("why", err.msg));
}

static void on_saved(struct offload *o) {
    container_of(o, struct roam, work)->saving = false;
}

static void keep(struct roam *r, const char *url) {
    if (r->saving) return; /* it is then searched for again at the next start */
    r->saving = true;
    snprintf(r->note, sizeof(r->note), "%.*s\n%s\n", URL_ROOM - 1, r->cfg.configured, url);
    r->work.run = save;
    r->work.back = on_saved;
    offload_start(&r->work, r->cfg.pool, r->cfg.loop);
}

char *roam_last(const char *data, const char *configured) {
    char path[4300], *text = NULL;
    size_t len;
    struct error ignored = {0};
    struct http_url parsed;
    snprintf(path, sizeof(path), "%.4000s/identity/central", data);
    if (file_read_all(path, 4096, &text, &len, &ignored) < 0) return xstrdup(configured);
    char *second = strchr(text, '\n');
    if (second) *second++ = '\0';
    if (second) second[strcspn(second, "\n")] = '\0';
    bool good = second && strcmp(text, configured) == 0 && http_url_parse(second, &parsed);
    char *url = xstrdup(good ? second : configured);
    free(text);
    return url;
}

/* --- a round --- */

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct roam *r = arg;
    char why[CENTRAL_WHY_MAX];
    r->found = !breaker_judge(a, why);
    return true;
}

static void on_done(struct http_call *call, const struct http_result *result, void *arg) {
    (void)call;
    (void)result;
    struct roam *r = arg;
    const char *url = r->urls[r->at];
    r->call = NULL;
    if (!r->found) {
        r->at++;
        try_next(r);
        return;
    }
    log_info("central_moved", KV_S("from", uplink_url(r->cfg.uplink)), KV_S("to", url));
    r->round = false;
    keep(r, url);
    uplink_move(r->cfg.uplink, url);
}

static const struct http_call_events events = {.head = on_head, .done = on_done};

static void try_next(struct roam *r) {
    while (r->at < r->n && strcmp(r->urls[r->at], uplink_url(r->cfg.uplink)) == 0)
        r->at++;
    r->round = r->at < r->n;
    if (!r->round) return;
    char url[URL_ROOM + 32];
    snprintf(url, sizeof(url), "%s" WIRE_UPSTREAMS_PATH, r->urls[r->at]);
    struct http_call_spec spec = {.method = "GET",
                                  .url = url,
                                  .connect_ms = CONNECT_MS,
                                  .head_ms = TOTAL_MS,
                                  .total_ms = TOTAL_MS,
                                  .max_body = (int64_t)WIRE_MAX_UPSTREAMS};
    uplink_secure(r->cfg.uplink, &spec);
    r->found = false;
    r->call = http_call_start(r->cfg.client, &spec, &events, r);
}

void roam_away(struct roam *r) {
    char told[WIRE_ADDRESSES_MAX][WIRE_ADDRESS_MAX];
    int64_t now = clock_mono_ms();
    if (r->round || !uplink_identity(r->cfg.uplink) || (r->began_ms && now - r->began_ms < ROUND_MS)) return;
    r->began_ms = now;
    r->n = fleet_sync_addresses(r->cfg.sync, told);
    for (size_t i = 0; i < r->n; i++)
        snprintf(r->urls[i], URL_ROOM, "https://%.*s", WIRE_ADDRESS_MAX - 1, told[i]);
    bool secure =
        strncmp(r->cfg.configured, "https://", strlen("https://")) == 0; /* over http nobody proves who answers */
    if (secure && strlen(r->cfg.configured) < URL_ROOM) snprintf(r->urls[r->n++], URL_ROOM, "%s", r->cfg.configured);
    r->at = 0;
    try_next(r);
}

struct roam *roam_new(const struct roam_config *cfg) {
    struct roam *r = xcalloc(1, sizeof(*r));
    r->cfg = *cfg;
    return r;
}

void roam_free(struct roam *r) {
    if (!r) return;
    if (r->call) http_call_cancel(r->call);
    free(r);
}
