-- Turns a copy of the source's 60 books into what a developer had before: n counts them by isbn13.
create temporary table numbered as select id, isbn10, isbn13, row_number() over (order by isbn13 collate "C") n from "Book";

-- New in the source.
delete from "Book" where id in (select id from numbered where n <= 8);
-- Changed in the source.
update "Book" set title = 'zmarkerz before', "pageCount" = "pageCount" / 2 + 1, subjects = null
where id in (select id from numbered where n between 9 and 14);
update "Book" set "ownerId" = 2 where id in (select id from numbered where n in (15, 16));
-- Two isbn10s change places, and three move on by one.
update "Book" set isbn10 = 'x' || id where id in (select id from numbered where n between 17 and 21);
update "Book" b set isbn10 = other.isbn10
from numbered this, numbered other
where b.id = this.id and (this.n, other.n) in ((17, 18), (18, 17), (19, 20), (20, 21), (21, 19));
-- Only here; one has the isbn10 of a new one.
insert into "Book" ("ownerId", isbn10, isbn13, title, "titleLong", language, synopsis, image, edition, "pageCount",
                    authors, binding, subjects, "datePublished", "imageOriginal", publisher, "updatedAt")
select 1, case n when 22 then (select isbn10 from numbered where n = 1) else 'own' || n end, '979000000000' || (n - 20),
       'zmarkerz my own', '', 'en', '', '', null, n, '{me}', '', '{}', '', '', '', current_timestamp
from numbered where n between 22 and 25;

insert into "ReadingList" ("ownerId", title, "updatedAt") values (1, 'zmarkerz to read', current_timestamp);
insert into "BookInReadingList" ("bookId", "readingListId", position, notes)
select b.id, 1, row_number() over (order by b.id), 'zmarkerz note'
from "Book" b join numbered using (isbn13) where n between 9 and 30
union all
select id, 1, 100, 'zmarkerz my own note' from "Book" where isbn13 in ('9790000000002', '9790000000003');
