/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/secret.h"

#include "core/engine.h"

#include "folder.h"
#include "hex.h"

#include <errno.h>

static const uint8_t zeros[SECRET_SIZE];

START_TEST(made_once)
{
	uint8_t first[SECRET_SIZE] = { 0 }, second[SECRET_SIZE] = { 0 };

	ck_assert_int_eq(secret_load(folder, first), 0);
	ck_assert_mem_ne(first, zeros, SECRET_SIZE);
	file_equals("secret", first, SECRET_SIZE);
	ck_assert_uint_eq(file_mode("secret"), 0600);
	ck_assert_int_eq(folder_count(), 1); /* no temporary file */
	ck_assert_int_eq(secret_load(folder, second), 0);
	ck_assert_mem_eq(first, second, SECRET_SIZE);
	ck_assert_int_eq(unlink(in_folder("secret")), 0);
	ck_assert_int_eq(secret_load(folder, second), 0);
	ck_assert_mem_ne(first, second, SECRET_SIZE);
}
END_TEST

START_TEST(an_existing_one_is_read)
{
	static const char text[] = "0123456789abcdef0123456789ABCDEF";
	uint8_t out[SECRET_SIZE];

	file_make("secret", text, SECRET_SIZE);
	ck_assert_int_eq(secret_load(folder, out), 0);
	ck_assert_mem_eq(out, text, SECRET_SIZE);
}
END_TEST

/* A volatile secret, never a known one; and the damaged file stays for the administrator. */
static void
is_volatile(int error)
{
	uint8_t first[SECRET_SIZE] = { 0 }, second[SECRET_SIZE] = { 0 };

	ck_assert_int_eq(secret_load(folder, first), error);
	ck_assert_int_eq(secret_load(folder, second), error);
	ck_assert_mem_ne(first, zeros, SECRET_SIZE);
	ck_assert_mem_ne(first, second, SECRET_SIZE);
}

/* The same octets, later; never instead of others. */
START_TEST(stored_later)
{
	uint8_t secret[SECRET_SIZE], out[SECRET_SIZE];

	ck_assert_int_eq(secret_load("/nowhere at all", secret), -ENOENT);
	ck_assert_int_eq(secret_store("/nowhere at all", secret), -ENOENT);
	ck_assert_int_eq(secret_store(folder, secret), 0);
	file_equals("secret", secret, SECRET_SIZE);
	ck_assert_uint_eq(file_mode("secret"), 0600);
	ck_assert_int_eq(folder_count(), 1);
	ck_assert_int_eq(secret_store(folder, secret), 0);
	ck_assert_int_eq(secret_load(folder, out), 0);
	ck_assert_mem_eq(out, secret, SECRET_SIZE);
	out[0] ^= 1;
	ck_assert_int_eq(secret_store(folder, out), -EEXIST);
	file_equals("secret", secret, SECRET_SIZE);
	file_make("secret", secret, 5);
	ck_assert_int_eq(secret_store(folder, secret), -EINVAL);
	file_equals("secret", secret, 5);
}
END_TEST

START_TEST(wrong_sizes)
{
	static const char text[SECRET_SIZE + 1];

	file_make("secret", text, 0);
	is_volatile(-EINVAL);
	file_make("secret", text, SECRET_SIZE - 1);
	is_volatile(-EINVAL);
	file_make("secret", text, SECRET_SIZE + 1);
	is_volatile(-EINVAL);
	file_equals("secret", text, SECRET_SIZE + 1);
}
END_TEST

START_TEST(not_a_file)
{
	static const char text[SECRET_SIZE];

	ck_assert_int_eq(mkdir(in_folder("secret"), 0700), 0);
	is_volatile(-EINVAL);
	ck_assert_int_eq(rmdir(in_folder("secret")), 0);
	ck_assert_int_eq(mkfifo(in_folder("secret"), 0600), 0); /* must not wait for a writer */
	is_volatile(-EINVAL);
	ck_assert_int_eq(unlink(in_folder("secret")), 0);
	file_make("elsewhere", text, SECRET_SIZE);
	ck_assert_int_eq(symlink("elsewhere", in_folder("secret")), 0);
	is_volatile(-ELOOP);
}
END_TEST

START_TEST(no_folder)
{
	char keep[sizeof folder];

	memcpy(keep, folder, sizeof keep);
	strcat(folder, "/nosuch");
	is_volatile(-ENOENT);
	memcpy(folder, keep, sizeof keep);
}
END_TEST

/* Computed by Python's hmac over struct.pack('>I', len) + bytes for each part. */
static const struct {
	const char *parts[3];
	size_t sizes[3];
	size_t n_parts;
	const char *hash;
} hashes[] = {
	{ { "default", "eth0", "\000P" }, { 7, 4, 2 }, 3,
	    "2a905d0cde79a9cf6212343f2fb4e738041c9fd06544f7e8668a5cbae1f3e569" },
	{ { "ab", "c" }, { 2, 1 }, 2,
	    "c3be357a5b3bed1965015d7fedd4253d32fc19fba41f6c74bc96b2a38f4c69ff" },
	{ { "a", "bc" }, { 1, 2 }, 2,
	    "7281caf026ca30a3a915c06b7f9c266bd0ba77f782615b6a0553f2c7cd649020" },
	{ { "abc" }, { 3 }, 1, "2b72f921d6b498ae26385e98f8db3ffc438a493c1b07bc38754f7ef0b3ff04b7" },
	{ { NULL }, { 0 }, 0, "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb" },
	{ { "" }, { 0 }, 1, "a86acbcbc29b8fa83c83582d56a892d0f06f0e487df5277680b0635c3927e3c5" },
	{ { "", "" }, { 0, 0 }, 2,
	    "9f0cd9b94097fe4929918d2b8942b34439574261a35dc50163f06c67d4e48899" },
};

/* P-79: what nonces are made of */
START_TEST(hash)
{
	struct secret_part parts[3];
	uint8_t secret[SECRET_SIZE], out[33];

	for (unsigned i = 0; i < SECRET_SIZE; i++)
		secret[i] = (uint8_t)i;
	for (size_t i = 0; i < hashes[_i].n_parts; i++)
		parts[i] = (struct secret_part){ hashes[_i].parts[i], hashes[_i].sizes[i] };
	memset(out, 0xee, sizeof out);
	secret_hash(secret, parts, hashes[_i].n_parts, out, 32);
	hex_assert(out, 32, hashes[_i].hash);
	ck_assert_uint_eq(out[32], 0xee);
	memset(out, 0xee, sizeof out);
	secret_hash(secret, parts, hashes[_i].n_parts, out, 12);
	ck_assert_uint_eq(out[12], 0xee);
	for (int i = 0; i < 12; i++)
		ck_assert_int_eq(out[i],
		    hex_value(hashes[_i].hash[2 * i]) << 4 | hex_value(hashes[_i].hash[2 * i + 1]));
}
END_TEST

/* An update that changes these loses every PCP mapping: nobody else can renew or delete it. */
START_TEST(nonce)
{
	static const uint8_t own[4] = { 192, 168, 1, 20 };
	struct nonce_key key = { .gateway = "default",
		.interface = "eth0",
		.local = netaddr_from4(own),
		.third_party = netaddr_any6,
		.family = FAMILY_IPV4,
		.protocol = PROTOCOL_TCP,
		.internal_port = 8080 };
	uint8_t secret[SECRET_SIZE], out[13];

	for (unsigned i = 0; i < SECRET_SIZE; i++)
		secret[i] = (uint8_t)i;
	memset(out, 0xee, sizeof out);
	secret_nonce(secret, &key, out);
	hex_assert(out, 12, "2229590079d6ea56f85fe432");
	ck_assert_uint_eq(out[12], 0xee);
	key.family = FAMILY_IPV6;
	key.protocol = PROTOCOL_UDP;
	secret_nonce(secret, &key, out);
	hex_assert(out, 12, "93d8acc616906d43a5a335ee");
}
END_TEST

START_TEST(random_octets)
{
	static uint8_t a[1000], b[1000];
	unsigned seen[256] = { 0 }, different = 0;

	secret_random(a, sizeof a);
	secret_random(b, sizeof b);
	ck_assert_mem_ne(a, b, sizeof a);
	for (size_t i = 0; i < sizeof a; i++)
		different += seen[a[i]]++ == 0;
	ck_assert_uint_ge(different, 200); /* about 251; below 200 not once in the world's life */
	secret_random(NULL, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("secret");
	TCase *tc = tcase_create("secret");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, folder_make, folder_remove);
	tcase_add_test(tc, made_once);
	tcase_add_test(tc, an_existing_one_is_read);
	tcase_add_test(tc, stored_later);
	tcase_add_test(tc, wrong_sizes);
	tcase_add_test(tc, not_a_file);
	tcase_add_test(tc, no_folder);
	tcase_add_loop_test(tc, hash, 0, (int)(sizeof hashes / sizeof hashes[0]));
	tcase_add_test(tc, nonce);
	tcase_add_test(tc, random_octets);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
