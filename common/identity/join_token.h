/* The token that lets an edge join: one line of text that `edge invite` prints and `join` reads. It carries central's
 * addresses, the SHA-256 of every root certificate that may be in use, a secret that is good for a few uses, and when
 * it expires. It ends with a checksum, so that a cut or mistyped token is told apart from a forged one. Pure. Thread:
 * any. */
#ifndef ENTREPOT_IDENTITY_JOIN_TOKEN_H
#define ENTREPOT_IDENTITY_JOIN_TOKEN_H

#include "common/core/error.h"

#define TOKEN_SECRET_BYTES 20
#define TOKEN_ROOTS_MAX 8
#define TOKEN_ADDRESSES_MAX 8
#define TOKEN_ADDRESS_MAX 264 /* HOST:PORT and NUL */
#define TOKEN_TEXT_MAX 4096
#define ROOT_HASH_BYTES 32 /* SHA-256 of a certificate's DER form */

struct join_token {
    uint8_t secret[TOKEN_SECRET_BYTES];
    int64_t expires_s; /* seconds since the epoch, by central's clock */
    uint8_t roots[TOKEN_ROOTS_MAX][ROOT_HASH_BYTES];
    size_t n_roots;                                         /* at least one */
    char addresses[TOKEN_ADDRESSES_MAX][TOKEN_ADDRESS_MAX]; /* HOST:PORT, in the order to try */
    size_t n_addresses;                                     /* at least one */
};

/* Writes the token as printable text without spaces. ERR_INVALID: an address is not HOST:PORT, or there is none. */
int token_format(const struct join_token *t, char out[TOKEN_TEXT_MAX], struct error *err) must_check;
/* Reads a token; blanks around it are ignored. ERR_INVALID: it is cut, mistyped or no token, and err says which. */
int token_parse(struct join_token *out, const char *text, struct error *err) must_check;

#endif
