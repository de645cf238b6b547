SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE SCHEMA dewey_sync;
CREATE TYPE public."BookVisibility" AS ENUM (
    'PRIVATE',
    'PUBLIC',
    'FRIENDS',
    'UNLISTED'
);
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE dewey_sync.application_object (
    name text NOT NULL,
    kind text NOT NULL,
    object_oid oid NOT NULL,
    made boolean NOT NULL
);
CREATE TABLE dewey_sync.checkpoint (
    run_id bigint NOT NULL,
    batch integer NOT NULL,
    round integer DEFAULT 0 NOT NULL,
    after_id bigint,
    through_id bigint,
    rows bigint NOT NULL,
    digest text,
    epoch bigint DEFAULT 0 NOT NULL
);
CREATE TABLE dewey_sync.generation (
    run_id bigint NOT NULL,
    rows_before bigint NOT NULL,
    digest_before text NOT NULL,
    rows_after bigint NOT NULL,
    digest_after text NOT NULL
);
CREATE TABLE dewey_sync.identity (
    id smallint DEFAULT 1 NOT NULL,
    system_identifier text NOT NULL,
    database_oid bigint NOT NULL,
    database_name text NOT NULL,
    marked_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT identity_one_row CHECK ((id = 1))
);
CREATE TABLE dewey_sync.ledger_migration (
    version character varying NOT NULL,
    applied_at bigint NOT NULL
);
CREATE TABLE dewey_sync.replaced (
    replaced_id bigint NOT NULL,
    run_id bigint NOT NULL,
    action text NOT NULL,
    place integer NOT NULL,
    table_name text NOT NULL,
    columns text,
    book_id integer,
    source_id integer,
    "row" text,
    CONSTRAINT replaced_action CHECK ((action = ANY (ARRAY['inserted'::text, 'updated'::text, 'deleted'::text, 'detached'::text])))
);
CREATE SEQUENCE dewey_sync.replaced_replaced_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE dewey_sync.replaced_replaced_id_seq OWNED BY dewey_sync.replaced.replaced_id;
CREATE TABLE dewey_sync.run (
    run_id bigint NOT NULL,
    action text NOT NULL,
    state text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    os_user text NOT NULL,
    host text NOT NULL,
    tool_version text NOT NULL,
    source text,
    target text NOT NULL,
    source_identity text,
    target_identity text NOT NULL,
    strategy text,
    mode text,
    engine text,
    owner_id integer,
    plan jsonb,
    exported bigint DEFAULT 0 NOT NULL,
    inserted bigint DEFAULT 0 NOT NULL,
    updated bigint DEFAULT 0 NOT NULL,
    deleted bigint DEFAULT 0 NOT NULL,
    unchanged bigint DEFAULT 0 NOT NULL,
    skipped bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL,
    retries bigint DEFAULT 0 NOT NULL,
    fingerprint_rows bigint,
    fingerprint_digest text,
    snapshot_at timestamp with time zone,
    apply_ms bigint,
    epoch bigint DEFAULT 0 NOT NULL,
    error text,
    session text
);
CREATE SEQUENCE dewey_sync.run_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE dewey_sync.run_run_id_seq OWNED BY dewey_sync.run.run_id;
CREATE UNLOGGED TABLE dewey_sync.stage (
    run_id bigint NOT NULL,
    source_id integer NOT NULL,
    "ownerId" integer NOT NULL,
    isbn10 text NOT NULL,
    isbn13 text NOT NULL,
    title text NOT NULL,
    "titleLong" text,
    language text,
    synopsis text,
    image text,
    edition text,
    "pageCount" integer,
    authors text[],
    binding text,
    subjects text[],
    "datePublished" text,
    "imageOriginal" text,
    publisher text,
    visibility text NOT NULL,
    "createdAt" timestamp(3) without time zone,
    "readDate" timestamp(3) without time zone,
    "updatedAt" timestamp(3) without time zone
);
CREATE UNLOGGED TABLE dewey_sync.stage_checkpoint (
    run_id bigint NOT NULL,
    batch integer NOT NULL,
    round integer DEFAULT 0 NOT NULL,
    after_id bigint,
    through_id bigint,
    rows bigint NOT NULL,
    digest text,
    epoch bigint DEFAULT 0 NOT NULL
);
CREATE TABLE public."Book" (
    id integer NOT NULL,
    "ownerId" integer NOT NULL,
    isbn10 character varying(10) NOT NULL,
    isbn13 character varying(13) NOT NULL,
    title text NOT NULL,
    "titleLong" text NOT NULL,
    language text NOT NULL,
    synopsis text NOT NULL,
    image text NOT NULL,
    edition text,
    "pageCount" integer NOT NULL,
    authors text[],
    binding text NOT NULL,
    subjects text[],
    "datePublished" text NOT NULL,
    "imageOriginal" text NOT NULL,
    publisher text NOT NULL,
    visibility public."BookVisibility" DEFAULT 'PUBLIC'::public."BookVisibility" NOT NULL,
    "createdAt" timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "readDate" timestamp(3) without time zone,
    "updatedAt" timestamp(3) without time zone NOT NULL
);
CREATE TABLE public."BookInReadingList" (
    id integer NOT NULL,
    "bookId" integer NOT NULL,
    "readingListId" integer NOT NULL,
    "position" integer DEFAULT 0 NOT NULL,
    notes text,
    "addedAt" timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE SEQUENCE public."BookInReadingList_id_seq"
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public."BookInReadingList_id_seq" OWNED BY public."BookInReadingList".id;
CREATE SEQUENCE public."Book_id_seq"
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public."Book_id_seq" OWNED BY public."Book".id;
CREATE TABLE public."ReadingList" (
    id integer NOT NULL,
    "ownerId" integer NOT NULL,
    title text NOT NULL,
    "createdAt" timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "updatedAt" timestamp(3) without time zone NOT NULL
);
CREATE SEQUENCE public."ReadingList_id_seq"
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public."ReadingList_id_seq" OWNED BY public."ReadingList".id;
CREATE TABLE public."User" (
    id integer NOT NULL,
    "clerkId" text NOT NULL,
    email text NOT NULL,
    name text,
    "createdAt" timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "profileImageUrl" text,
    "updatedAt" timestamp(3) without time zone NOT NULL,
    "githubUrl" text,
    "instagramUrl" text,
    "letterboxdUrl" text,
    "linkedinUrl" text,
    "spotifyUrl" text
);
CREATE SEQUENCE public."User_id_seq"
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public."User_id_seq" OWNED BY public."User".id;
ALTER TABLE ONLY dewey_sync.replaced ALTER COLUMN replaced_id SET DEFAULT nextval('dewey_sync.replaced_replaced_id_seq'::regclass);
ALTER TABLE ONLY dewey_sync.run ALTER COLUMN run_id SET DEFAULT nextval('dewey_sync.run_run_id_seq'::regclass);
ALTER TABLE ONLY public."Book" ALTER COLUMN id SET DEFAULT nextval('public."Book_id_seq"'::regclass);
ALTER TABLE ONLY public."BookInReadingList" ALTER COLUMN id SET DEFAULT nextval('public."BookInReadingList_id_seq"'::regclass);
ALTER TABLE ONLY public."ReadingList" ALTER COLUMN id SET DEFAULT nextval('public."ReadingList_id_seq"'::regclass);
ALTER TABLE ONLY public."User" ALTER COLUMN id SET DEFAULT nextval('public."User_id_seq"'::regclass);
INSERT INTO dewey_sync.generation VALUES (2, 6, '6bc84b2147731e05', 5, 'a14a9815ad347a79');
INSERT INTO dewey_sync.identity VALUES (1, '7712734834744490415', 16384, 'penumbra', '2026-11-27 06:30:25.608002+00');
INSERT INTO dewey_sync.ledger_migration VALUES ('m0001_identity', 1795761025);
INSERT INTO dewey_sync.ledger_migration VALUES ('m0002_application_object', 1795761025);
INSERT INTO dewey_sync.ledger_migration VALUES ('m0003_run', 1795761025);
INSERT INTO dewey_sync.ledger_migration VALUES ('m0004_checkpoint', 1795761026);
INSERT INTO dewey_sync.ledger_migration VALUES ('m0005_stage', 1795761026);
INSERT INTO dewey_sync.ledger_migration VALUES ('m0006_stage_checkpoint', 1795761026);
INSERT INTO dewey_sync.ledger_migration VALUES ('m0007_generation', 1795761026);
INSERT INTO dewey_sync.ledger_migration VALUES ('m0008_replaced', 1795761026);
INSERT INTO dewey_sync.ledger_migration VALUES ('m0009_run_session', 1795761026);
INSERT INTO dewey_sync.ledger_migration VALUES ('m0010_stage_optional', 1795761026);
INSERT INTO dewey_sync.replaced VALUES (1, 2, 'updated', 0, '"Book"', 'id integer, "ownerId" integer, isbn10 character varying(10), isbn13 character varying(13), title text, "titleLong" text, language text, synopsis text, image text, edition text, "pageCount" integer, authors text[], binding text, subjects text[], "datePublished" text, "imageOriginal" text, publisher text, visibility "BookVisibility", "createdAt" timestamp(3) without time zone, "readDate" timestamp(3) without time zone, "updatedAt" timestamp(3) without time zone', 2, 2, '(2,1,0000000002,9780000000002,"","Long c81e728d9d4c2f636f067f89cc14862cc81e728d9d4c2f636f067f89cc14862c",en,"d09bf41544a3365a46c9077ebb5e35c3 fbd7939d674997cdb4692d34de8633c4 28dd2c7955ce926456240b2ff0100bde
35f4a8d465e6e1edc05f3d8ab658c551 d1fe173d08e959397adf34b1d77e88d7 f033ab37c30201f73f142449d037028d 43ec517d68b6edd3015b3edc9a11367b
9778d5d219c5080b9a6a17bef029331c fe9fc289c3ff0af142b6d3bead98a923 68d30a9594728bc39aa24be94b319d21",https://img.example.org/c81e728d9d4c2f636f067f89cc14862c.jpg,2th,2,"{""Author 2"",""Co 2""}",Hardcover,"{""a, b"",NULL,""\\""c\\"""",""{d}""}",1902,https://img.example.org/orig/eccbc87e4b5ce2fe28308fd9f2a7baf3.jpg,"Publisher 2",FRIENDS,"2024-01-01 00:02:00.123",,"2025-01-01 00:00:02.456")');
INSERT INTO dewey_sync.replaced VALUES (2, 2, 'deleted', 0, '"Book"', 'id integer, "ownerId" integer, isbn10 character varying(10), isbn13 character varying(13), title text, "titleLong" text, language text, synopsis text, image text, edition text, "pageCount" integer, authors text[], binding text, subjects text[], "datePublished" text, "imageOriginal" text, publisher text, visibility "BookVisibility", "createdAt" timestamp(3) without time zone, "readDate" timestamp(3) without time zone, "updatedAt" timestamp(3) without time zone', 3, NULL, '(3,1,0000000003,9780000000003,"Title eccbc87e4b5ce2fe28308fd9f2a7baf3","Long eccbc87e4b5ce2fe28308fd9f2a7baf3eccbc87e4b5ce2fe28308fd9f2a7baf3",en,"7f6ffaa6bb0b408017b62254211691b5 73278a4a86960eeb576a8fd4c9ec6997 5fd0b37cd7dbbb00f97ba6ce92bf5add
2b44928ae11fb9384c4cf38708677c48 c45147dee729311ef5b5c3003946c48f eb160de1de89d9058fcb0b968dbbbd68 5ef059938ba799aaa845e1c2e8a762bd
07e1cd7dca89a1678042477183b7ac3f da4fb5c6e93e74d3df8527599fa62642 4c56ff4ce4aaf9573aa5dff913df997a a0a080f42e6f13b3a2df133f073095dd",https://img.example.org/eccbc87e4b5ce2fe28308fd9f2a7baf3.jpg,,3,"{""Author 3"",""Co 3""}",Paperback,"{Fiction,S3}",1903,https://img.example.org/orig/a87ff679a2f3e71d9181a67b7542122c.jpg,"Publisher 3",UNLISTED,"2024-01-01 00:03:00.123",,"2025-01-01 00:00:03.456")');
INSERT INTO dewey_sync.replaced VALUES (3, 2, 'deleted', 1, 'public."BookInReadingList"', 'id integer, "bookId" integer, "readingListId" integer, "position" integer, notes text, "addedAt" timestamp(3) without time zone', NULL, NULL, '(1,3,1,0,,"2026-11-27 06:30:26.915")');
INSERT INTO dewey_sync.run VALUES (1, 'sync', 'verified', '2026-11-27 06:30:26.203537+00', '2026-11-27 06:30:26.382894+00', 'ada', 'laptop', '0.1.0', 'penumbra at 127.0.0.1:44555', 'penumbra at 127.0.0.1:59041', '7712734793124993178/16384', '7712734834744490415/16384', 'staged', 'full', 'insert', 1, '{"plan": {"books": 6, "ranges": [{"after": null, "batch": 1, "books": 6, "through": null}]}, "owners": {"named": {}, "others": 1}, "columns": ["isbn10", "isbn13", "title", "titleLong", "language", "synopsis", "image", "edition", "pageCount", "authors", "binding", "subjects", "datePublished", "imageOriginal", "publisher", "visibility", "createdAt", "readDate", "updatedAt"], "updated_at": null}', 6, 6, 0, 0, 0, 0, 0, 0, 6, '6b2ef59cc891e9d3', '2026-11-27 06:30:26.317+00', 54, 1, NULL, 'dewey-sync 31396-b4a6b12d');
INSERT INTO dewey_sync.run VALUES (2, 'sync', 'verified', '2026-11-27 06:30:27.220179+00', '2026-11-27 06:30:27.45646+00', 'ada', 'laptop', '0.1.0', 'penumbra at 127.0.0.1:44555', 'penumbra at 127.0.0.1:59041', '7712734793124993178/16384', '7712734834744490415/16384', 'staged', 'full', 'insert', 1, '{"plan": {"books": 5, "ranges": [{"after": null, "batch": 1, "books": 5, "through": null}]}, "owners": {"named": {}, "others": 1}, "columns": ["isbn10", "isbn13", "title", "titleLong", "language", "synopsis", "image", "edition", "pageCount", "authors", "binding", "subjects", "datePublished", "imageOriginal", "publisher", "visibility", "createdAt", "readDate", "updatedAt"], "updated_at": null}', 5, 0, 1, 1, 4, 0, 0, 0, 5, 'b1c463c0a54ae96a', '2026-11-27 06:30:27.34+00', 53, 2, NULL, 'dewey-sync 31445-96daabd9');
INSERT INTO dewey_sync.run VALUES (3, 'sync', 'not_completed', '2026-11-27 06:30:28.231852+00', '2026-11-27 06:30:28.603833+00', 'ada', 'laptop', '0.1.0', 'penumbra at 127.0.0.1:44555', 'penumbra at 127.0.0.1:59041', '7712734793124993178/16384', '7712734834744490415/16384', 'staged', 'full', 'insert', 1, '{"plan": {"books": 5, "ranges": [{"after": null, "batch": 1, "books": 5, "through": null}]}, "owners": {"named": {}, "others": 1}, "columns": ["isbn10", "isbn13", "title", "titleLong", "language", "synopsis", "image", "edition", "pageCount", "authors", "binding", "subjects", "datePublished", "imageOriginal", "publisher", "visibility", "createdAt", "readDate", "updatedAt"], "updated_at": null}', 5, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 3, 'could not apply the staged books: new row for relation "Book" violates check constraint "no" (SQLSTATE 23514)', 'dewey-sync 31472-7e1aa786');
INSERT INTO dewey_sync.stage VALUES (3, 1, 1, '0000000001', '9780000000001', '📚 שלום', 'Long c4ca4238a0b923820dcc509a6f75849bc4ca4238a0b923820dcc509a6f75849b', 'en', 'a5771bce93e200c36f7cd9dfd0e5deaa d67d8ab4f4c10bf22aa353e27879133c d645920e395fedad7bbbed0eca3fe2e0
3416a75f4cea9109507cacd8e2f2aefc a1d0c6e83f027327d8461063f4ac58a6 17e62166fc8586dfa4d1bc0e1742c08b f7177163c833dff4b38fc8d2872f1ec6
6c8349cc7260ae62e3b1396831a8398f d9d4f495e875a2e075a1a4a6e1b9770f', 'https://img.example.org/c4ca4238a0b923820dcc509a6f75849b.jpg', '1th', 1, '{"Author 1","Co 1"}', 'Paperback', '{}', '1901', 'https://img.example.org/orig/c81e728d9d4c2f636f067f89cc14862c.jpg', 'Publisher 1', 'PUBLIC', '2024-01-01 00:01:00.123', NULL, '2025-01-01 00:00:01.456');
INSERT INTO dewey_sync.stage VALUES (3, 2, 1, '0000000002', '9780000000002', 'changed', 'Long c81e728d9d4c2f636f067f89cc14862cc81e728d9d4c2f636f067f89cc14862c', 'en', 'd09bf41544a3365a46c9077ebb5e35c3 fbd7939d674997cdb4692d34de8633c4 28dd2c7955ce926456240b2ff0100bde
35f4a8d465e6e1edc05f3d8ab658c551 d1fe173d08e959397adf34b1d77e88d7 f033ab37c30201f73f142449d037028d 43ec517d68b6edd3015b3edc9a11367b
9778d5d219c5080b9a6a17bef029331c fe9fc289c3ff0af142b6d3bead98a923 68d30a9594728bc39aa24be94b319d21', 'https://img.example.org/c81e728d9d4c2f636f067f89cc14862c.jpg', '2th', 2, '{"Author 2","Co 2"}', 'Hardcover', '{"a, b",NULL,"\"c\"","{d}"}', '1902', 'https://img.example.org/orig/eccbc87e4b5ce2fe28308fd9f2a7baf3.jpg', 'Publisher 2', 'FRIENDS', '2024-01-01 00:02:00.123', NULL, '2025-01-01 00:00:02.456');
INSERT INTO dewey_sync.stage VALUES (3, 4, 1, '0000000004', '9780000000004', 'later', 'Long a87ff679a2f3e71d9181a67b7542122ca87ff679a2f3e71d9181a67b7542122c', 'en', 'f2217062e9a397a1dca429e7d70bc6ca 7ef605fc8dba5425d6965fbd4c8fbe1f a8f15eda80c50adb0e71943adc8015cf
37a749d808e46495a8da1e5352d03cae b3e3e393c77e35a4a3f3cbd1e429b5dc 1d7f7abc18fcb43975065399b0d1e48e 2a79ea27c279e471f4d180b08d62b00a
1c9ac0159c94d8d0cbedc973445af2da 6c4b761a28b734fe93831e3fb400ce87 06409663226af2f3114485aa4e0a23b4 140f6969d5213fd0ece03148e62e461e
b73ce398c39f506af761d2277d853a92', 'https://img.example.org/a87ff679a2f3e71d9181a67b7542122c.jpg', '4th', 4, '{"Author 4","Co 4"}', 'Hardcover', '{Fiction,S4}', '1904', 'https://img.example.org/orig/e4da3b7fbbce2345d7772b0674a318d5.jpg', 'Publisher 4', 'PRIVATE', '2024-01-01 00:04:00.123', '2023-05-05 10:00:00.5', '2025-01-01 00:00:04.456');
INSERT INTO dewey_sync.stage VALUES (3, 5, 1, '0000000005', '9780000000005', 'Title e4da3b7fbbce2345d7772b0674a318d5', 'Long e4da3b7fbbce2345d7772b0674a318d5e4da3b7fbbce2345d7772b0674a318d5', 'fr', '9872ed9fc22fc182d371c3e9ed316094 31fefc0e570cb3860f2a6d4b38c6490d 9dcb88e0137649590b755372b040afad
a2557a7b2e94197ff767970b67041697 cfecdb276f634854f3ef915e2e980c31 0aa1883c6411f7873cb83dacb17b0afc 58a2fc6ed39fd083f55d4182bf88826d
bd686fd640be98efaae0091fa301e613 a597e50502f5ff68e3e25b9114205d4a 0336dcbab05b9d5ad24f4333c7658a0e 084b6fbb10729ed4da8c3d3f5a3ae7c9
85d8ce590ad8981ca2c8286f79f59954 0e65972dce68dad4d52d063967f0a705', 'https://img.example.org/e4da3b7fbbce2345d7772b0674a318d5.jpg', '5th', 5, '{"Author 5","Co 5"}', 'Paperback', NULL, '1905', 'https://img.example.org/orig/1679091c5a880faf6fb5e6087eb1b2dc.jpg', 'Publisher 5', 'PUBLIC', '2024-01-01 00:05:00.123', NULL, '2025-01-01 00:00:05.456');
INSERT INTO dewey_sync.stage VALUES (3, 6, 1, '0000000006', '9780000000006', 'Title 1679091c5a880faf6fb5e6087eb1b2dc', 'Long 1679091c5a880faf6fb5e6087eb1b2dc1679091c5a880faf6fb5e6087eb1b2dc', 'en', '115f89503138416a242f40fb7d7f338e 13fe9d84310e77f13a6d184dbf1232f3 d1c38a09acc34845c6be3a127a5aacaf
9cfdf10e8fc047a44b08ed031e1f0ed1 705f2172834666788607efbfca35afb3 74db120f0a8e5646ef5a30154e9f6deb 57aeee35c98205091e18d1140e9f38cf
6da9003b743b65f4c0ccd295cc484e57 9b04d152845ec0a378394003c96da594 be83ab3ecd0db773eb2dc1b0a17836a1 e165421110ba03099a1c0393373c5b43
289dff07669d7a23de0ef88d2f7129e7 577ef1154f3240ad5b9b413aa7346a1e 01161aaa0b6d1345dd8fe4e481144d84', 'https://img.example.org/1679091c5a880faf6fb5e6087eb1b2dc.jpg', NULL, 6, '{"NULL","null",""}', 'Hardcover', '{}', '1906', 'https://img.example.org/orig/8f14e45fceea167a5a36dedd4bea2543.jpg', 'Publisher 6', 'FRIENDS', '2024-01-01 00:06:00.123', NULL, '2025-01-01 00:00:06.456');
INSERT INTO dewey_sync.stage_checkpoint VALUES (3, 1, 0, NULL, NULL, 5, NULL, 3);
INSERT INTO public."Book" VALUES (1, 1, '0000000001', '9780000000001', '📚 שלום', 'Long c4ca4238a0b923820dcc509a6f75849bc4ca4238a0b923820dcc509a6f75849b', 'en', 'a5771bce93e200c36f7cd9dfd0e5deaa d67d8ab4f4c10bf22aa353e27879133c d645920e395fedad7bbbed0eca3fe2e0
3416a75f4cea9109507cacd8e2f2aefc a1d0c6e83f027327d8461063f4ac58a6 17e62166fc8586dfa4d1bc0e1742c08b f7177163c833dff4b38fc8d2872f1ec6
6c8349cc7260ae62e3b1396831a8398f d9d4f495e875a2e075a1a4a6e1b9770f', 'https://img.example.org/c4ca4238a0b923820dcc509a6f75849b.jpg', '1th', 1, '{"Author 1","Co 1"}', 'Paperback', '{}', '1901', 'https://img.example.org/orig/c81e728d9d4c2f636f067f89cc14862c.jpg', 'Publisher 1', 'PUBLIC', '2024-01-01 00:01:00.123', NULL, '2025-01-01 00:00:01.456');
INSERT INTO public."Book" VALUES (4, 1, '0000000004', '9780000000004', 'Title a87ff679a2f3e71d9181a67b7542122c', 'Long a87ff679a2f3e71d9181a67b7542122ca87ff679a2f3e71d9181a67b7542122c', 'en', 'f2217062e9a397a1dca429e7d70bc6ca 7ef605fc8dba5425d6965fbd4c8fbe1f a8f15eda80c50adb0e71943adc8015cf
37a749d808e46495a8da1e5352d03cae b3e3e393c77e35a4a3f3cbd1e429b5dc 1d7f7abc18fcb43975065399b0d1e48e 2a79ea27c279e471f4d180b08d62b00a
1c9ac0159c94d8d0cbedc973445af2da 6c4b761a28b734fe93831e3fb400ce87 06409663226af2f3114485aa4e0a23b4 140f6969d5213fd0ece03148e62e461e
b73ce398c39f506af761d2277d853a92', 'https://img.example.org/a87ff679a2f3e71d9181a67b7542122c.jpg', '4th', 4, '{"Author 4","Co 4"}', 'Hardcover', '{Fiction,S4}', '1904', 'https://img.example.org/orig/e4da3b7fbbce2345d7772b0674a318d5.jpg', 'Publisher 4', 'PRIVATE', '2024-01-01 00:04:00.123', '2023-05-05 10:00:00.5', '2025-01-01 00:00:04.456');
INSERT INTO public."Book" VALUES (5, 1, '0000000005', '9780000000005', 'Title e4da3b7fbbce2345d7772b0674a318d5', 'Long e4da3b7fbbce2345d7772b0674a318d5e4da3b7fbbce2345d7772b0674a318d5', 'fr', '9872ed9fc22fc182d371c3e9ed316094 31fefc0e570cb3860f2a6d4b38c6490d 9dcb88e0137649590b755372b040afad
a2557a7b2e94197ff767970b67041697 cfecdb276f634854f3ef915e2e980c31 0aa1883c6411f7873cb83dacb17b0afc 58a2fc6ed39fd083f55d4182bf88826d
bd686fd640be98efaae0091fa301e613 a597e50502f5ff68e3e25b9114205d4a 0336dcbab05b9d5ad24f4333c7658a0e 084b6fbb10729ed4da8c3d3f5a3ae7c9
85d8ce590ad8981ca2c8286f79f59954 0e65972dce68dad4d52d063967f0a705', 'https://img.example.org/e4da3b7fbbce2345d7772b0674a318d5.jpg', '5th', 5, '{"Author 5","Co 5"}', 'Paperback', NULL, '1905', 'https://img.example.org/orig/1679091c5a880faf6fb5e6087eb1b2dc.jpg', 'Publisher 5', 'PUBLIC', '2024-01-01 00:05:00.123', NULL, '2025-01-01 00:00:05.456');
INSERT INTO public."Book" VALUES (6, 1, '0000000006', '9780000000006', 'Title 1679091c5a880faf6fb5e6087eb1b2dc', 'Long 1679091c5a880faf6fb5e6087eb1b2dc1679091c5a880faf6fb5e6087eb1b2dc', 'en', '115f89503138416a242f40fb7d7f338e 13fe9d84310e77f13a6d184dbf1232f3 d1c38a09acc34845c6be3a127a5aacaf
9cfdf10e8fc047a44b08ed031e1f0ed1 705f2172834666788607efbfca35afb3 74db120f0a8e5646ef5a30154e9f6deb 57aeee35c98205091e18d1140e9f38cf
6da9003b743b65f4c0ccd295cc484e57 9b04d152845ec0a378394003c96da594 be83ab3ecd0db773eb2dc1b0a17836a1 e165421110ba03099a1c0393373c5b43
289dff07669d7a23de0ef88d2f7129e7 577ef1154f3240ad5b9b413aa7346a1e 01161aaa0b6d1345dd8fe4e481144d84', 'https://img.example.org/1679091c5a880faf6fb5e6087eb1b2dc.jpg', NULL, 6, '{"NULL","null",""}', 'Hardcover', '{}', '1906', 'https://img.example.org/orig/8f14e45fceea167a5a36dedd4bea2543.jpg', 'Publisher 6', 'FRIENDS', '2024-01-01 00:06:00.123', NULL, '2025-01-01 00:00:06.456');
INSERT INTO public."Book" VALUES (2, 1, '0000000002', '9780000000002', 'changed', 'Long c81e728d9d4c2f636f067f89cc14862cc81e728d9d4c2f636f067f89cc14862c', 'en', 'd09bf41544a3365a46c9077ebb5e35c3 fbd7939d674997cdb4692d34de8633c4 28dd2c7955ce926456240b2ff0100bde
35f4a8d465e6e1edc05f3d8ab658c551 d1fe173d08e959397adf34b1d77e88d7 f033ab37c30201f73f142449d037028d 43ec517d68b6edd3015b3edc9a11367b
9778d5d219c5080b9a6a17bef029331c fe9fc289c3ff0af142b6d3bead98a923 68d30a9594728bc39aa24be94b319d21', 'https://img.example.org/c81e728d9d4c2f636f067f89cc14862c.jpg', '2th', 2, '{"Author 2","Co 2"}', 'Hardcover', '{"a, b",NULL,"\"c\"","{d}"}', '1902', 'https://img.example.org/orig/eccbc87e4b5ce2fe28308fd9f2a7baf3.jpg', 'Publisher 2', 'FRIENDS', '2024-01-01 00:02:00.123', NULL, '2025-01-01 00:00:02.456');
INSERT INTO public."ReadingList" VALUES (1, 1, 'L', '2026-11-27 06:30:26.896', '2026-11-27 06:30:26.896');
INSERT INTO public."User" VALUES (1, 'clerk_1', 'u1@example.org', 'User 1', '2026-11-27 06:30:24.816', NULL, '2026-11-27 06:30:24.816', NULL, NULL, NULL, NULL, NULL);
SELECT pg_catalog.setval('dewey_sync.replaced_replaced_id_seq', 4, true);
SELECT pg_catalog.setval('dewey_sync.run_run_id_seq', 3, true);
SELECT pg_catalog.setval('public."BookInReadingList_id_seq"', 1, true);
SELECT pg_catalog.setval('public."Book_id_seq"', 6, true);
SELECT pg_catalog.setval('public."ReadingList_id_seq"', 1, true);
SELECT pg_catalog.setval('public."User_id_seq"', 1, true);
ALTER TABLE ONLY dewey_sync.application_object
    ADD CONSTRAINT application_object_pkey PRIMARY KEY (name);
ALTER TABLE ONLY dewey_sync.checkpoint
    ADD CONSTRAINT checkpoint_pkey PRIMARY KEY (run_id, batch, round);
ALTER TABLE ONLY dewey_sync.generation
    ADD CONSTRAINT generation_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY dewey_sync.identity
    ADD CONSTRAINT identity_pkey PRIMARY KEY (id);
ALTER TABLE ONLY dewey_sync.ledger_migration
    ADD CONSTRAINT ledger_migration_pkey PRIMARY KEY (version);
ALTER TABLE ONLY dewey_sync.replaced
    ADD CONSTRAINT replaced_pkey PRIMARY KEY (replaced_id);
ALTER TABLE ONLY dewey_sync.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY dewey_sync.stage_checkpoint
    ADD CONSTRAINT stage_checkpoint_pkey PRIMARY KEY (run_id, batch, round);
ALTER TABLE ONLY dewey_sync.stage
    ADD CONSTRAINT stage_pkey PRIMARY KEY (run_id, source_id);
ALTER TABLE ONLY public."BookInReadingList"
    ADD CONSTRAINT "BookInReadingList_pkey" PRIMARY KEY (id);
ALTER TABLE ONLY public."Book"
    ADD CONSTRAINT "Book_pkey" PRIMARY KEY (id);
ALTER TABLE ONLY public."ReadingList"
    ADD CONSTRAINT "ReadingList_pkey" PRIMARY KEY (id);
ALTER TABLE ONLY public."User"
    ADD CONSTRAINT "User_pkey" PRIMARY KEY (id);
CREATE UNIQUE INDEX "BookInReadingList_bookId_readingListId_key" ON public."BookInReadingList" USING btree ("bookId", "readingListId");
CREATE UNIQUE INDEX "Book_isbn10_key" ON public."Book" USING btree (isbn10);
CREATE UNIQUE INDEX "Book_isbn13_key" ON public."Book" USING btree (isbn13);
CREATE INDEX "Book_ownerId_idx" ON public."Book" USING btree ("ownerId");
CREATE INDEX "Book_ownerId_readDate_idx" ON public."Book" USING btree ("ownerId", "readDate");
CREATE INDEX "Book_readDate_idx" ON public."Book" USING btree ("readDate");
CREATE INDEX "Book_title_idx" ON public."Book" USING btree (title);
CREATE INDEX "Book_visibility_idx" ON public."Book" USING btree (visibility);
CREATE UNIQUE INDEX "User_clerkId_key" ON public."User" USING btree ("clerkId");
CREATE UNIQUE INDEX "User_email_key" ON public."User" USING btree (email);
ALTER TABLE ONLY dewey_sync.checkpoint
    ADD CONSTRAINT checkpoint_run_id_fkey FOREIGN KEY (run_id) REFERENCES dewey_sync.run(run_id) ON DELETE CASCADE;
ALTER TABLE ONLY dewey_sync.generation
    ADD CONSTRAINT generation_run_id_fkey FOREIGN KEY (run_id) REFERENCES dewey_sync.run(run_id) ON DELETE CASCADE;
ALTER TABLE ONLY dewey_sync.replaced
    ADD CONSTRAINT replaced_run_id_fkey FOREIGN KEY (run_id) REFERENCES dewey_sync.run(run_id) ON DELETE CASCADE;
ALTER TABLE ONLY dewey_sync.stage_checkpoint
    ADD CONSTRAINT stage_checkpoint_run_id_fkey FOREIGN KEY (run_id) REFERENCES dewey_sync.run(run_id) ON DELETE CASCADE;
ALTER TABLE ONLY public."BookInReadingList"
    ADD CONSTRAINT "BookInReadingList_bookId_fkey" FOREIGN KEY ("bookId") REFERENCES public."Book"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY public."BookInReadingList"
    ADD CONSTRAINT "BookInReadingList_readingListId_fkey" FOREIGN KEY ("readingListId") REFERENCES public."ReadingList"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY public."Book"
    ADD CONSTRAINT "Book_ownerId_fkey" FOREIGN KEY ("ownerId") REFERENCES public."User"(id) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY public."ReadingList"
    ADD CONSTRAINT "ReadingList_ownerId_fkey" FOREIGN KEY ("ownerId") REFERENCES public."User"(id) ON UPDATE CASCADE ON DELETE CASCADE;
