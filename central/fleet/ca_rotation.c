/* A new root takes the place of the root (drawing in ca.h). Each step can be repeated, so that a start finishes what a
 * crash has interrupted. Thread: as ca.h says. */
#include "central/fleet/ca_private.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/identity/cert.h"

/* The one from an earlier change goes in any case: it is for another root. */
static int move_cross(struct ca *ca, struct error *err) {
    struct ca_path from = ca_path(ca, "next-cross.pem"), to = ca_path(ca, "cross.pem");
    if (ca_path_exists(from.text))
        return rename(from.text, to.text) == 0 ? 0 : error_errno(err, "renaming %s", from.text);
    X509 *cross = NULL, *root = NULL;
    struct error ignored = {0};
    bool fits = ca_read_pem(to.text, &cross, NULL, &ignored) == 0 &&
                ca_read_pem(ca_root_path(ca, CA_ROOT).text, &root, NULL, &ignored) == 0 &&
                EVP_PKEY_eq(X509_get0_pubkey(cross), X509_get0_pubkey(root)) == 1;
    X509_free(cross);
    X509_free(root);
    return fits ? 0 : ca_forget(ca, "cross.pem", err);
}

/* The old root's key is replaced, because nothing more is signed with it. */
static int move_into_place(struct ca *ca, struct error *err) {
    struct ca_path next = ca_key_path(ca, CA_NEXT), key = ca_key_path(ca, CA_ROOT),
                   from = ca_path(ca, "next-signer.pem");
    X509 *root = NULL, *signer = NULL;
    EVP_PKEY *signer_key = NULL;
    int r = ca_read_pem(ca_root_path(ca, CA_NEXT).text, &root, NULL, err);
    if (r == 0) r = ca_read_pem(from.text, &signer, &signer_key, err);
    if (r == 0) r = ca_write_pem(ca_path(ca, "signer.pem").text, signer_key, signer, err);
    if (r == 0) r = ca_write_pem(ca_root_path(ca, CA_ROOT).text, NULL, root, err);
    if (r == 0 && ca_path_exists(next.text) && rename(next.text, key.text) < 0)
        r = error_errno(err, "renaming %s", next.text);
    if (r == 0) r = move_cross(ca, err);
    if (r == 0) r = ca_forget(ca, "next.pem", err);
    if (r == 0) r = ca_forget(ca, "next-signer.pem", err);
    X509_free(root);
    X509_free(signer);
    EVP_PKEY_free(signer_key);
    return r;
}

int ca_finish_switch(struct ca *ca, struct error *err) {
    bool cut = ca_path_exists(ca_root_path(ca, CA_NEXT).text) && ca_path_exists(ca_root_path(ca, CA_RETIRED).text);
    return cut ? move_into_place(ca, err) : 0;
}

/* Puts a certificate in the place of another, which is kept until the end: it may be in use. */
static void hand_over(struct ca *ca, X509 **place, X509 *now) {
    if (*place && sk_X509_push(ca->gone, *place) <= 0) out_of_memory();
    *place = now;
}

/* Has the old root sign the new one, for engines that know the old one alone. Without the old root's key, which may be
 * kept elsewhere, there is no such certificate. */
static int write_cross(struct ca *ca, EVP_PKEY *key, struct error *err) {
    EVP_PKEY *old = NULL;
    struct error ignored = {0};
    if (ca_read_pem(ca_key_path(ca, CA_ROOT).text, NULL, &old, &ignored) < 0)
        return ca_forget(ca, "next-cross.pem", err);
    X509 *cross = ca_make_authority(ca, "root", key, ca_root(ca, CA_ROOT), old, CA_ROOT_S);
    int r = ca_write_pem(ca_path(ca, "next-cross.pem").text, NULL, cross, err);
    X509_free(cross);
    EVP_PKEY_free(old);
    return r;
}

int ca_begin_rotation(struct ca *ca, struct error *err) {
    EVP_PKEY *key = key_make(), *signer_key = key_make();
    X509 *signer = NULL, *root = NULL;
    int r = ca_state(ca) == CA_STEADY ? 0 : error_set(err, ERR_BUSY, "a change of the root is under way already");
    if (r < 0) error_hint(err, "`entrepot-central ca status` says which edges it waits for; it goes on by itself");
    if (r == 0) {
        root = ca_make_authority(ca, "root", key, NULL, NULL, CA_ROOT_S);
        signer = ca_make_authority(ca, "signer", signer_key, root, key, CA_SIGNER_S);
        r = ca_write_pem(ca_key_path(ca, CA_NEXT).text, key, NULL, err);
        if (r < 0) {
            error_wrap(err, "the new root's key");
            error_hint(err, "make the folder of %s writable (mount it), and say `ca rotate` again", ca->key_file);
        }
    }
    if (r == 0) r = write_cross(ca, key, err);
    if (r == 0) r = ca_write_pem(ca_path(ca, "next-signer.pem").text, signer_key, signer, err);
    if (r == 0) r = ca_write_pem(ca_root_path(ca, CA_NEXT).text, NULL, root, err);
    if (r == 0) {
        pthread_rwlock_wrlock(&ca->lock);
        hand_over(ca, &ca->roots[CA_NEXT], root);
        root = NULL;
        pthread_rwlock_unlock(&ca->lock);
    }
    X509_free(root);
    X509_free(signer);
    EVP_PKEY_free(key);
    EVP_PKEY_free(signer_key);
    return r;
}

/* From now on what is on the disk is used. */
static int take_over(struct ca *ca, struct error *err) {
    struct ca now = {.gone = ca->gone};
    memcpy(now.dir, ca->dir, sizeof(now.dir));
    memcpy(now.fleet, ca->fleet, sizeof(now.fleet));
    int r = ca_read_roots(&now, err);
    if (r == 0) r = ca_read_signer(&now, ca_path(ca, "signer.pem").text, err);
    if (r == 0) r = ca_read_cross(&now, err);
    if (r < 0) return r;
    pthread_rwlock_wrlock(&ca->lock);
    hand_over(ca, &ca->cross, now.cross);
    for (unsigned i = 0; i < CA_ROOTS; i++)
        hand_over(ca, &ca->roots[i], now.roots[i]);
    hand_over(ca, &ca->signers[KEPT_OLD_SIGNER], ca->signers[KEPT_SIGNER]);
    ca->signers[KEPT_SIGNER] = now.signers[KEPT_SIGNER];
    if (ca->n_gone_keys < ARRAY_LEN(ca->gone_key)) ca->gone_key[ca->n_gone_keys++] = ca->signer_key;
    ca->signer_key = now.signer_key;
    pthread_rwlock_unlock(&ca->lock);
    return 0;
}

int ca_switch(struct ca *ca, struct error *err) {
    if (ca_state(ca) != CA_SPREADING) return error_set(err, ERR_INVALID, "there is no new root to switch to");
    int r = ca_write_pem(ca_path(ca, "retired-signer.pem").text, NULL, ca_signer(ca), err);
    if (r == 0) r = ca_write_pem(ca_root_path(ca, CA_RETIRED).text, NULL, ca_root(ca, CA_ROOT), err);
    if (r == 0) r = move_into_place(ca, err);
    return r < 0 ? r : take_over(ca, err);
}

int ca_end_rotation(struct ca *ca, struct error *err) {
    if (ca_state(ca) != CA_RETIRING) return error_set(err, ERR_INVALID, "no root is about to leave");
    int r = ca_forget(ca, "retired.pem", err);
    if (r == 0) r = ca_forget(ca, "retired-signer.pem", err);
    if (r == 0) r = ca_forget(ca, "retired.until", err);
    if (r < 0) return r;
    pthread_rwlock_wrlock(&ca->lock);
    hand_over(ca, &ca->roots[CA_RETIRED], NULL);
    hand_over(ca, &ca->signers[KEPT_OLD_SIGNER], NULL);
    ca->retired_until = 0;
    pthread_rwlock_unlock(&ca->lock);
    return 0;
}
