/* Reads the certificate again, and has parts take what changed. Thread: control loop. */
#include "common/node/reload.h"

#include "common/config/config_tree.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/digest.h"
#include "common/core/file.h"
#include "common/core/log.h"

#include <stdio.h>

#define CERTIFICATE_CHECK_MS 10000

struct reload {
    const struct node_config *node;
    struct tls_server *tls;
    struct timer certificates;
    struct digest config_was;  /* of the configuration's file at the start */
    struct digest config_last; /* when it was valid last */
    bool (*on_change)(char *words, size_t cap, void *arg);
    void *arg;
};

/* Reads the certificate again if its files have changed. Returns in words what was done. */
static const char *reload_certificate(struct reload *r) {
    struct error err = {0};
    if (!r->tls) return "none configured";
    int code = tls_server_reload(r->tls, &err);
    if (code > 0) {
        char until[CLOCK_DATE_MAX];
        log_info("certificate_reloaded", KV_I("not_after", tls_server_not_after(r->tls)),
                 KV_S("good_until", clock_date(tls_server_not_after(r->tls), until)));
    }
    if (code < 0) log_error("certificate_not_reloaded", KV_S("why", err.msg));
    return code > 0 ? "read anew" : code == 0 ? "unchanged" : "refused, the old certificate stays in use";
}

static void on_certificates(void *arg) {
    struct reload *r = arg;
    reload_certificate(r);
    timer_set(&r->certificates, CERTIFICATE_CHECK_MS);
}

/* False when there is no file, or it cannot be read. */
static bool config_digest(const struct node_config *node, struct digest *d) {
    char *text = NULL;
    size_t len = 0;
    if (!node->config_file || file_read_all(node->config_file, CONFIG_TEXT_MAX, &text, &len, NULL) < 0) return false;
    digest_of(d, DIGEST_SHA256, text, len);
    free(text);
    return true;
}

void reload_on_change(struct reload *r, bool (*fn)(char *words, size_t cap, void *arg), void *arg) {
    r->on_change = fn;
    r->arg = arg;
}

/* Writes what was taken from a file whose digest is now. A file that is not valid is read again at the next SIGHUP, so
 * that nobody is told to restart the node with it. */
static void take_config(struct reload *r, const struct digest *now, char *out, size_t cap) {
    char words[300] = "";
    bool valid = true;
    if (r->on_change && !digest_eq(now, &r->config_last)) valid = r->on_change(words, sizeof(words), r->arg);
    if (valid) r->config_last = *now;
    if (!valid)
        snprintf(out, cap, "is not valid: nothing was taken from it, and the node would not start with it");
    else if (words[0])
        snprintf(out, cap, "has changed: %s; the rest is read at a start only", words);
    else if (digest_eq(now, &r->config_was))
        snprintf(out, cap, "unchanged");
    else
        snprintf(out, cap, "has changed, but is read at a start only: restart the node to apply it");
}

/* On SIGHUP. */
void reload_now(struct reload *r) {
    const char *certificate = reload_certificate(r), *file = r->node->config_file;
    char config[400] = "no file was read at the start, so nothing is read again; restart the node to use one";
    struct digest now = {0};
    bool read = file && config_digest(r->node, &now);
    if (read)
        take_config(r, &now, config, sizeof(config));
    else if (file)
        snprintf(config, sizeof(config), "cannot be read now; the node keeps the configuration it read at its start");
    if (file && (!read || !digest_eq(&now, &r->config_was)))
        log_warn("reloaded", KV_S("certificate", certificate), KV_S("config", config), KV_S("file", file));
    else
        log_info("reloaded", KV_S("certificate", certificate), KV_S("config", config));
}

struct reload *reload_new(const struct node_config *node, struct loop *control) {
    struct reload *r = xcalloc(1, sizeof(*r));
    r->node = node;
    timer_init(&r->certificates, control, on_certificates, r);
    if (!config_digest(node, &r->config_was)) r->config_was = (struct digest){0};
    r->config_last = r->config_was;
    return r;
}

void reload_watch(struct reload *r, struct tls_server *tls) {
    r->tls = tls;
    timer_set(&r->certificates, CERTIFICATE_CHECK_MS);
}

void reload_free(struct reload *r) {
    timer_fini(&r->certificates);
    free(r);
}
