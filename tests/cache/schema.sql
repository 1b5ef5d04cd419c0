create table plain (id int primary key, n int);
insert into plain values (1, 10), (2, 20), (3, 30);
create schema other;
create table other.plain (id int, n int);
create role amy login;
grant all on all tables in schema public, other to amy;
grant all on schema public, other to amy;
--;
create view simple_view as select id, n from plain;
create view upper_view as select id, n from simple_view where n > 0;
create materialized view mat as select id, n from plain;
create table part (k int, v int) partition by list (k);
create table part_1 partition of part for values in (1);
create table part_2 partition of part for values in (2, 12) partition by list (k);
create table part_2a partition of part_2 for values in (2, 12);
insert into part values (1, 0);
create table parent (a int);
create table child (b int) inherits (parent);
insert into child values (0, 0);
--;
create table customers (id int primary key, name text);
create table orders (id int primary key,
    customer int references customers on delete cascade on update cascade);
create table lines (id int primary key, order_id int references orders on delete set null);
create table visits (customer int references customers) partition by list (customer);
create table visits_1 partition of visits default;
insert into customers values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
insert into orders values (10, 1), (20, 2), (30, 3), (40, 4);
insert into lines values (100, 10), (200, 20), (300, 30), (400, 40);
--;
create table audit (what text);
create table watched (x int);
create function audit_it() returns trigger language plpgsql as $$
begin insert into audit values ('watched'); return new; end $$;
create trigger t after insert on watched for each row execute function audit_it();
create function log_something(what text) returns void language sql as
    $$ insert into audit values (what) $$;
create procedure bump() language sql as $$ update plain set n = n + 7 $$;
create table ruled (x int);
create table ruled_log (x int);
create rule r as on insert to ruled do also insert into ruled_log values (new.x);
create function next_id() returns int language plpgsql as $$
begin insert into audit values ('default'); return 1; end $$;
create table defaulted (id int default next_id(), n int);
create domain numbered int default next_id();
create table numbers (id numbered, n int);
create table plain_numbers (id int, n int);
create view defaulting as select id, n from plain_numbers;
alter view defaulting alter n set default next_id();
create table split (k int) partition by list (k);
create table split_1 partition of split for values in (1);
create trigger t after insert on split for each row execute function audit_it();
--;
create sequence seq;
create sequence calls;
select nextval('calls');
create view timed_view as select n, now() as at from plain;
create view view_on_timed_view as select n from timed_view where at > '2000-01-01';
create table secured (n int);
alter table secured enable row level security;
create policy p on secured using (true);
create view view_on_secured as select * from secured;
create function stable_reader() returns bigint language sql stable as
    $$ select count(*) from plain $$;
create function volatile_thing() returns int language sql as $$ select 1 $$;
create function immutable_thing(int) returns int language sql immutable as $$ select $1 + 1 $$;
create function by_column(plain) returns int language sql stable as $$ select 1 $$;
create function odd_op(int, int) returns int language sql as $$ select 1 $$;
create operator <~> (leftarg = int, rightarg = int, function = odd_op);
create function odd_step(int, int) returns int language sql volatile as $$ select 1 $$;
create aggregate odd_agg (int) (sfunc = odd_step, stype = int, initcond = '0');
create type mood as enum ('sad', 'happy');
-- It says that it is immutable, and is slow.
create function slow(int) returns int language plpgsql immutable as $$
begin
    perform pg_sleep(1.2);
    perform nextval('calls');
    return $1;
end $$;
