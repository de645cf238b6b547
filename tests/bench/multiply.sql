-- Copies the generated books until there are $books, in rounds, with keys and ids that go on as the generator's do.

create temp table written as
select row_number() over (order by id) as place, b.* from "Book" b
-- The first thirty are awkward.
where id > 3 * 30;

do $$
declare
    base constant int := (select count(*) from "Book");
    round_size constant int := (select count(*) from written);
begin
    for done in base .. $books - 1 by round_size loop
        insert into "Book" (id, "ownerId", isbn10, isbn13, title, "titleLong", language, synopsis, image, edition,
                            "pageCount", authors, binding, subjects, "datePublished", "imageOriginal", publisher,
                            visibility, "createdAt", "readDate", "updatedAt")
        select 3 * n + n / 250 * 1000, "ownerId", number || 'X', '978' || number || '0', title, "titleLong", language,
               synopsis, image, edition, "pageCount", authors, binding, subjects, "datePublished", "imageOriginal",
               publisher, visibility, "createdAt" + done * interval '7 minutes 0.013 seconds',
               "readDate" + done * interval '7 minutes 0.013 seconds',
               "updatedAt" + done * interval '7 minutes 0.013 seconds'
        from (select done + place as n, * from written where done + place <= $books) numbered
        cross join lateral (
            select lpad(mod(n * 387420489::bigint + 123456789, 1000000000)::text, 9, '0') as number
        ) keyed
        order by n;
    end loop;
end
$$;

drop table written;

select setval(pg_get_serial_sequence('"Book"', 'id'), max(id)) from "Book";
