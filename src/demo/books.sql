-- Generated books for an empty database of the application. Their number is the setting "dewey_demo.books".
-- Everything follows from a book's number n, so two fills are equal, byte for byte.

-- Compiling the long list of expressions takes a second.
set local jit = off;

-- The source's users have ids that a target's users do not have: an owner that was not remapped is noticed.
insert into "User" (id, "clerkId", email, name, "createdAt", "updatedAt")
select 100 + 3 * k, 'user_' || md5(k::text), lower(name) || '@example.org', name,
       timestamp '2021-03-04 05:06:07.089' + k * interval '1 day', timestamp '2024-05-06 07:08:09.012'
from unnest(array['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald', 'Frances', 'Alan']) with ordinality u (name, k);
select setval(pg_get_serial_sequence('"User"', 'id'), max(id)) from "User";

insert into "Book" (id, "ownerId", isbn10, isbn13, title, "titleLong", language, synopsis, image, edition,
                    "pageCount", authors, binding, subjects, "datePublished", "imageOriginal", publisher,
                    visibility, "createdAt", "readDate", "updatedAt")
select
    -- Ids have gaps of two, and one of a thousand after each 250 books.
    3 * n + n / 250 * 1000,
    100 + 3 * (1 + byte[1] % 7),
    number || case isbn10_check when 10 then 'X' else isbn10_check::text end,
    '978' || number || isbn13_check,
    title,
    title || ': ' || approaches[1 + byte[5] % 10] || ' ' || nouns[1 + byte[6] % 24],
    (array['en', 'en', 'en', 'de', 'fr', 'es', 'ja', 'pt'])[1 + byte[7] % 8],
    (select string_agg(sentences[1 + (byte[8] + k * (2 * byte[9] + 1)) % 16], ' ' order by k)
     from generate_series(1, 11 + byte[10] % 4) k),
    'https://images.example.org/covers/' || md5('small' || n) || '.jpg',
    case when byte[11] % 4 > 0 then (1 + byte[11] % 9) || '. edition' end,
    60 + byte[12] * 4 + byte[13] % 4,
    (array[first_names[1 + byte[14] % 16] || ' ' || last_names[1 + byte[15] % 24],
           first_names[1 + byte[16] % 16] || ' ' || last_names[1 + byte[17] % 24],
           first_names[1 + byte[18] % 16] || ' ' || last_names[1 + byte[19] % 24]])[1:1 + byte[20] % 3],
    (array['Paperback', 'Hardcover', 'Mass Market Paperback', 'Kindle Edition', 'Spiral-bound'])[1 + byte[21] % 5],
    (array[subjects[1 + byte[22] % 16], subjects[1 + byte[23] % 16], subjects[1 + byte[24] % 16],
           subjects[1 + byte[25] % 16]])[1:1 + byte[26] % 4],
    to_char(date '1950-01-01' + byte[27] * 100 + byte[28], (array['YYYY', 'YYYY-MM', 'YYYY-MM-DD'])[1 + byte[29] % 3]),
    'https://images.example.org/originals/' || md5('large' || n) || '.jpg',
    publishers[1 + byte[30] % 12],
    (array['PUBLIC', 'PUBLIC', 'PUBLIC', 'PUBLIC', 'PRIVATE', 'PRIVATE', 'FRIENDS', 'UNLISTED'])
        [1 + byte[31] % 8]::"BookVisibility",
    created,
    case when byte[32] % 3 = 0 then created + byte[2] * interval '1 day' end,
    created + byte[3] * interval '31 hours 7 minutes 0.417 seconds'
from (
    select array['The Hidden', 'A Brief', 'The Last', 'Beyond', 'The Quiet', 'Understanding', 'The Silver', 'Against',
                 'The Second', 'Rethinking', 'The Invisible', 'Practical', 'The Burning', 'Elements of', 'Letters on',
                 'The Forgotten'] openings,
           array['Gardens', 'Machines', 'Rivers', 'Algorithms', 'Winters', 'Cities', 'Memory', 'Light', 'Numbers',
                 'Empires', 'Silence', 'Oceans', 'Grammar', 'Compilers', 'Mountains', 'Shadows', 'Harbours',
                 'Databases', 'Islands', 'Clocks', 'Maps', 'Forests', 'Engines', 'Stories'] nouns,
           array['of Lisbon', 'of the North', 'in Translation', 'and Their Keepers', 'at the Border', 'for Everyone',
                 'of the Mind', 'under Glass', 'in Exile', 'without End', 'of Samarkand', 'by Night', 'in Theory',
                 'of the Deep', 'before Dawn', 'Revisited'] endings,
           array['A History of', 'An Introduction to', 'Essays on', 'Conversations about', 'The Art of', 'A Memoir of',
                 'A Field Guide to', 'The Science of', 'Travels through', 'The Philosophy of'] approaches,
           array['Amara', 'Jorge', 'Ingrid', 'Kenji', 'Leila', 'Tomas', 'Priya', 'Samuel', 'Chiara', 'Oluwaseun',
                 'Marta', 'Dmitri', 'Hannah', 'Rafael', 'Mei', 'Anselm'] first_names,
           array['Okafor', 'Lindqvist', 'Borges', 'Tanaka', 'Haddad', 'Novak', 'Raman', 'Beckett', 'Ferrante', 'Adeyemi',
                 'Kowalska', 'Volkov', 'Arendt', 'Medeiros', 'Chen', 'Keller', 'O''Brien', 'García', 'Møller', 'Dvořák',
                 'Le Guin', 'Şafak', 'Nguyễn', 'Weiß'] last_names,
           array['Fiction', 'History', 'Computer science', 'Poetry', 'Philosophy', 'Biography', 'Mathematics', 'Travel',
                 'Science fiction', 'Essays', 'Art', 'Music', 'Economics', 'Natural history', 'Cooking', 'Linguistics'
                 ] subjects,
           array['Harbour & Finch', 'Penumbra Press', 'Editorial Anagrama', 'Northlight', 'O''Malley Books', 'Suhrkamp',
                 'Granite House', 'Tidewater University Press', 'Blue Lantern', 'Éditions du Quai', 'Meridian',
                 'Iwanami Shoten'] publishers,
           array['A young archivist finds a ledger that should not exist, and with it the name of a town nobody remembers.',
                 'What begins as a quarrel over an inheritance becomes a meditation on what families owe one another.',
                 'Drawing on three decades of field work, the author shows how small decisions add up to large consequences.',
                 'Set between two wars, this is the story of a bridge, its builders, and the people who refused to cross it.',
                 'Each chapter takes one familiar idea apart, puts it together again, and leaves the reader less certain.',
                 'The prose is spare, the jokes are dry, and the ending has been argued about ever since.',
                 'With more than two hundred exercises, it has introduced generations of students to the subject.',
                 'In clear and generous language it explains why the obvious answer took four centuries to find.',
                 'Nothing in the valley is quite what the maps say, and the surveyor is running out of paper.',
                 'This edition restores the passages that were cut by the first publisher and adds a new afterword.',
                 'Part detective story, part love letter to libraries, it won the hearts of critics and readers alike.',
                 'The letters, published here for the first time, span a friendship of more than forty years.',
                 'A practical guide for those who would rather understand a thing once than look it up every week.',
                 'When the lighthouse goes dark, three strangers must decide whose version of the night is true.',
                 'Rich in anecdote and careful in argument, it is the standard work on its subject.',
                 'She came to the island to count birds; she stayed because of what the birds were counting.'
                 ] sentences
) words
cross join (
    select n, number,
           array(select get_byte(hash, k) from generate_series(0, 31) k) byte,
           timestamp '2022-01-01 00:00:00.001' + n * interval '7 minutes 0.013 seconds' created,
           (11 - mod(10 * d[1] + 9 * d[2] + 8 * d[3] + 7 * d[4] + 6 * d[5] + 5 * d[6] + 4 * d[7] + 3 * d[8] + 2 * d[9],
                     11)) % 11 isbn10_check,
           -- 38 is what the prefix 978 adds to the sum.
           (10 - mod(38 + 3 * d[1] + d[2] + 3 * d[3] + d[4] + 3 * d[5] + d[6] + 3 * d[7] + d[8] + 3 * d[9], 10)) % 10
               isbn13_check
    from (
        select n, hash, number, string_to_array(number, null)::int[] d
        from generate_series(1, current_setting('dewey_demo.books')::int) n,
             lateral (select sha256(convert_to(md5(n::text), 'UTF8')) hash,
                             -- A factor without a divisor in common with 10^9 gives every n its own number.
                             lpad(mod(n * 387420489::bigint + 123456789, 1000000000)::text, 9, '0') number) seeds
        offset 0
    ) numbered
    offset 0
) seeded
cross join lateral (
    select openings[1 + byte[2] % 16] || ' ' || nouns[1 + byte[3] % 24] || ' ' || endings[1 + byte[4] % 16] title
) titled;

-- What real catalogues hold sooner or later and what transports of text stumble over, in the first thirty books.
update "Book" b
set title = awkward, "titleLong" = awkward, synopsis = awkward, publisher = awkward, edition = awkward,
    authors = array[awkward, null, awkward], subjects = array[array[awkward, 'x'], array['', awkward]]
from (values
    (1, e'O''Reilly''s "Quoted" `Title` “and” «others»'),
    (2, e'back\\slash, \\N, \\., \\\\x41, \\t and a last one\\'),
    (3, e'line one\nline two\r\nline three\ttabbed\x0b\x0c'),
    (4, e'\\.\n\\N\n.\n'),
    (5, e'\x01\x02\x07\x08\x1b[31mred\x1b[0m\x1f\x7f'),
    (6, e'😀 👩‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️ 1️⃣'),
    (7, e'\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u202egnirts desrever\u202c \u200fmark'),
    (8, e'caf\u00e9 is not cafe\u0301, \u212b is not \u00c5, \ufb01 is not fi'),
    (9, e'I \u0130 \u0131 i \u00df \u1e9e \u03c3 \u03c2 \u01c6 \u01c5'),
    (10, e'zero\u200bwidth\u200cand\u200djoin\u2060soft\u00adhyphen\ufeff'),
    (11, e'\ufeffbyte order mark first'),
    (12, e'\u0080\u0085\u009f\u2028\u2029\ufffd\ufffe\uffff'),
    (13, e'\U00010000 \U0001f4da \U0002070e \U000e0041 \U000f0000 \U0010ffff'),
    (14, e'Z\u0351\u036b\u0343\u036a\u0302\u0361a\u0321\u034a\u0353l\u0321\u034e\u030ago'),
    (15, e'漢字 ひらがな ｶﾀｶﾅ 한국어 \u1112\u1161\u11ab ไทย हिन्दी'),
    (16, e'  spaces\u00a0around\u3000and\u2003between  '),
    (17, e'NULL'),
    (18, e'''; DROP TABLE "Book"; -- $1 %s {0} ${HOME} :name ?'),
    (19, e'{"a",NULL,"{}"}, (1,2), [0:1]={x,y}'),
    (20, e'')
) texts (n, awkward)
where b.id = 3 * n;

update "Book" b
set authors = awkward_authors::text[], subjects = awkward_subjects::text[]
from (values
    (21, null, null),
    (22, '{}', '{}'),
    (23, '{NULL}', '{"NULL"}'),
    (24, '{""}', '{NULL,"",NULL}'),
    (25, e'{"a \\"quoted\\" name","back\\\\slash","comma, brace {}"}', e'{"line\nbreak","\t"," "}'),
    (26, '[0:1]={NULL,x}', '[-3:-2]={x,NULL}'),
    (27, '{{a,b},{c,NULL}}', '[2:2][0:1]={{x,y}}')
) arrays (n, awkward_authors, awkward_subjects)
where b.id = 3 * n;

update "Book" b
set "readDate" = read_date::timestamp(3), "createdAt" = created::timestamp(3), "updatedAt" = updated::timestamp(3),
    "pageCount" = pages, edition = null
from (values
    (21, null, '4713-01-01 00:00:00 BC', '2024-02-29 23:59:59.999', 0),
    (22, 'infinity', '2022-01-01', 'infinity', -1),
    (23, '-infinity', '-infinity', '2022-01-01', 2147483647),
    (24, '294276-12-31 23:59:59.999', '1969-12-31 23:59:59.999', '294276-12-31 23:59:59.999', -2147483648),
    (25, '4713-01-01 00:00:00 BC', '2000-01-01', '10000-01-01 00:00:00.001', 1),
    (26, '0001-12-31 23:59:59.999 BC', '1582-10-04 12:00', '2038-01-19 03:14:08', 2)
) limits (n, read_date, created, updated, pages)
where b.id = 3 * n;

update "Book" set language = '', synopsis = '', image = '', binding = '', "datePublished" = '', "imageOriginal" = ''
where id = 3 * 28;

-- 1 MB: 2^20 characters.
update "Book" set synopsis = left(repeat('It is a long story. ', 60000), 1048576) where id = 3 * 29;

-- No serial gives out such an id, but a restored or repaired table may hold one.
update "Book" set id = -7 where id = 3 * 30;

select setval(pg_get_serial_sequence('"Book"', 'id'), greatest(max(id), 1)) from "Book";
