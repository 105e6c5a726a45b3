/*
 * Secrets: passwords that options name by id, so that they don't stand in options themselves
 * (--object secret,id=s0,file=/path,format=base64).
 *
 * Main loop's thread.
 */
#ifndef TINAMOU_IO_BLOCK_SECRET_H
#define TINAMOU_IO_BLOCK_SECRET_H

#include <stddef.h>
#include <stdint.h>

/*
 * Adds one from "id=ID,data=TEXT" or "id=ID,file=PATH", with format=raw (the default) or base64.
 * Encrypted ones have keyid=ID of a secret of 32 bytes and iv=BASE64 (AES-256-CBC), and their data
 * is base64. 0 or -errno with one line in error[].
 */
int secret_add(const char *options, char *error, size_t error_size);

/* Forgets and wipes it. -ENOENT. */
int secret_remove(const char *id);

/* A copy in *data, malloc()ed, with a zero behind it; the caller wipes it (crypto_wipe()) and frees
 * it. -ENOENT with one line in error[] that names `who`'s option. */
int secret_get(const char *id, const char *who, uint8_t **data, size_t *size, char *error,
               size_t error_size);

#endif
