/* Server TLS: a certificate and key that are read again when their files change. Thread: control thread loads; serving
 * loops use the current SSL_CTX (counted, atomic swap). */
#ifndef ENTREPOT_HTTP_TLS_H
#define ENTREPOT_HTTP_TLS_H

#include <openssl/ssl.h>

#include "common/core/error.h"

struct tls_server;

/* Loads PEM files. TLS 1.2 and 1.3, ALPN http/1.1, kTLS asked for (used where the kernel has it). */
int tls_server_new(struct tls_server **out, const char *cert_file, const char *key_file, struct error *err) must_check;
/* Reads the files again if either changed (mtime, size or inode); on failure keeps what it has, and so it does where a
 * certificate that has ended, or has not begun, would replace one that is good. 1: reloaded, 0: unchanged, else error.
 */
int tls_server_reload(struct tls_server *t, struct error *err) must_check;
/* Any thread: a counted reference to the current context (SSL_CTX_free it). */
SSL_CTX *tls_server_ctx(struct tls_server *t);
/* Seconds since the epoch at which the current certificate ends. */
int64_t tls_server_not_after(const struct tls_server *t);
void tls_server_free(struct tls_server *t);
/* Makes a self-signed certificate (EC P-256, 10 years, the names as SAN) and key (0600) at the paths, unless both
 * exist. */
int tls_make_self_signed(const char *cert_file, const char *key_file, const char *const *names, size_t n_names,
                         struct error *err) must_check;

#endif
