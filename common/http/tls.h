/* TLS for servers: a certificate and key that are read again when their files change. Thread: the control thread loads;
 * serving loops use the current SSL_CTX (counted, atomic swap). */
#ifndef ENTREPOT_HTTP_TLS_H
#define ENTREPOT_HTTP_TLS_H

#include <openssl/ssl.h>

#include "common/core/error.h"

struct tls_server;

/* A context with the options of every server of ours, and without a certificate. The caller frees it. */
SSL_CTX *tls_context_new(void);
/* The same with a certificate, those that lead to its root, and its key. NULL: they do not fit each other. */
SSL_CTX *tls_context_of(X509 *cert, STACK_OF(X509) * more, EVP_PKEY *key);
/* A server's certificate that is made here and in no file; takes ctx. One without a
 * certificate refuses every handshake. */
struct tls_server *tls_server_of(SSL_CTX *ctx);
/* New connections use this context from now on; takes ctx. */
void tls_server_replace(struct tls_server *t, SSL_CTX *ctx);

/* Loads PEM files. TLS 1.2 and 1.3, ALPN http/1.1, kTLS where the kernel supports it. ERR_INVALID or -errno, with err
 * filled. */
int tls_server_new(struct tls_server **out, const char *cert_file, const char *key_file, struct error *err) must_check;
/* Reads the files again if one of them has changed (mtime, size or inode). Keeps the current certificate on failure,
 * and if the current one is valid and the new one has expired or is not valid yet. 1: reloaded, 0: unchanged, else an
 * error. */
int tls_server_reload(struct tls_server *t, struct error *err) must_check;
/* Any thread: a counted reference to the current context (SSL_CTX_free it). */
SSL_CTX *tls_server_ctx(struct tls_server *t);
/* When the current certificate expires, in seconds since the epoch; 0: there is none. */
int64_t tls_server_not_after(const struct tls_server *t);
/* Before a call of OpenSSL whose failure is looked at: errors of earlier calls of this thread are dropped. There are
 * hardly ever any, and ERR_clear_error takes as long for none. */
void tls_forget_errors(void);
/* Serving loop, after the handshake: frees the certificates that led from the other end's to its authority, which each
 * connection would keep a copy of (5 KiB and more). The other end's own stays. */
void tls_forget_issuers(SSL *ssl);
void tls_server_free(struct tls_server *t);

#endif
