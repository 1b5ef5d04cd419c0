BEGIN READ ONLY;
SELECT 'session', pg_catalog.current_setting('default_transaction_isolation'),
       pg_catalog.current_setting('search_path'), current_user;
SELECT 'path', s FROM unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS u(s, n) ORDER BY n;
-- From here on every name must be written in full, and definitions of views write theirs so.
SET LOCAL search_path TO '';
SET LOCAL standard_conforming_strings TO on;
SELECT 'schema', nspname, pg_catalog.has_schema_privilege(oid, 'USAGE'),
       pg_catalog.has_schema_privilege('public', oid, 'USAGE')
FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(temp|toast)';
SELECT 'relation', c.oid, n.nspname, c.relname, c.relkind, c.relrowsecurity,
       EXISTS (SELECT FROM pg_catalog.pg_attribute a
               JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
               JOIN pg_catalog.pg_proc p ON p.oid IN (t.typoutput, t.typsend)
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 AND p.provolatile = 'v'),
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) END,
       c.relpersistence = 'u'
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(temp|toast)';
SELECT 'system', n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'S') AND n.nspname ~ '^(pg_catalog|information_schema|pg_toast)';
SELECT 'child', i.inhparent, i.inhrelid
FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
WHERE c.relkind IN ('r', 'p', 'f');
SELECT 'key', confrelid, conrelid, confupdtype, confdeltype
FROM pg_catalog.pg_constraint WHERE contype = 'f';
SELECT 'trigger', t.tgrelid, t.tgtype, n.nspname, p.proname
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE t.tgenabled <> 'D'
  -- Before PostgreSQL 15 what a partition has of its parent's triggers counts as internal. That of
  -- foreign keys does in all versions.
  AND (NOT t.tgisinternal OR t.tgparentid <> 0 AND n.nspname <> 'pg_catalog');
SELECT DISTINCT 'rule', ev_class FROM pg_catalog.pg_rewrite WHERE rulename <> '_RETURN';
-- Volatile functions of users behind defaults and constraints, and behind policies.
SELECT DISTINCT h.kind, h.relation, n.nspname, p.proname
FROM (SELECT 'hidden' AS kind, a.adrelid AS relation, d.refobjid AS function
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attrdef a ON a.oid = d.objid
      WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
      UNION ALL
      -- Of domains, which give columns theirs.
      SELECT 'hidden', a.attrelid, d.refobjid
      FROM pg_catalog.pg_depend d
      JOIN pg_catalog.pg_type t ON t.oid = d.objid AND t.typtype = 'd'
      JOIN pg_catalog.pg_attribute a ON a.atttypid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
      WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
      UNION ALL
      SELECT 'hidden', c.conrelid, d.refobjid
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_constraint c ON c.oid = d.objid
      WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND c.conrelid <> 0
        AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
      UNION ALL
      SELECT 'policy', o.polrelid, d.refobjid
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_policy o ON o.oid = d.objid
      WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass) h
JOIN pg_catalog.pg_proc p ON p.oid = h.function
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.provolatile = 'v' AND n.nspname <> 'pg_catalog';
SELECT 'qual', polrelid, pg_catalog.pg_get_expr(polqual, polrelid)
FROM pg_catalog.pg_policy WHERE polcmd IN ('r', '*') AND polqual IS NOT NULL;
-- Domains whose constraints call volatile functions of users, and types that are made of them.
WITH RECURSIVE odd (type) AS (
  SELECT c.contypid
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_constraint c ON c.oid = d.objid
  JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
  WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND c.contypid <> 0
    AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    AND p.provolatile = 'v' AND p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace
  UNION
  SELECT m.whole FROM odd JOIN (
    SELECT t.typbasetype AS part, t.oid AS whole FROM pg_catalog.pg_type t WHERE t.typbasetype <> 0
    UNION ALL
    SELECT t.typelem, t.oid FROM pg_catalog.pg_type t WHERE t.typelem <> 0
    UNION ALL
    SELECT a.atttypid, c.reltype
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    WHERE c.relkind = 'c') m ON m.part = odd.type)
SELECT DISTINCT 'domain', t.typname FROM odd JOIN pg_catalog.pg_type t ON t.oid = odd.type;
SELECT DISTINCT 'view', r.ev_class, d.refobjid
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
JOIN pg_catalog.pg_depend d ON d.objid = r.oid AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class
WHERE r.rulename = '_RETURN' AND n.nspname NOT IN ('pg_catalog', 'information_schema');
SELECT DISTINCT 'function', NULL, p.proname, p.provolatile,
       CASE WHEN p.provolatile = 'i' THEN 0 ELSE p.pronargs - p.pronargdefaults END,
       CASE WHEN p.provolatile = 'i' OR p.provariadic <> 0 THEN 1000 ELSE p.pronargs END, false, false
FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace;
-- Of an aggregate, what its steps are.
SELECT 'function', n.nspname, p.proname,
       CASE WHEN p.prokind <> 'a' THEN p.provolatile::text
            ELSE (SELECT CASE WHEN bool_or(s.provolatile = 'v') THEN 'v'
                              WHEN bool_or(s.provolatile = 's') THEN 's' ELSE 'i' END
                  FROM pg_catalog.pg_aggregate g JOIN pg_catalog.pg_proc s
                    ON s.oid IN (g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggmtransfn,
                                 g.aggminvtransfn, g.aggmfinalfn, g.aggserialfn, g.aggdeserialfn)
                  WHERE g.aggfnoid = p.oid) END,
       p.pronargs - p.pronargdefaults,
       CASE WHEN p.provariadic <> 0 THEN 1000 ELSE p.pronargs END,
       p.pronargs - p.pronargdefaults <= 1 AND p.pronargs >= 1
         AND EXISTS (SELECT FROM pg_catalog.pg_type t
                     WHERE t.oid = p.proargtypes[0] AND t.typtype IN ('c', 'p')),
       p.provolatile = 'v' AND (l.lanname NOT IN ('sql', 'plpgsql', 'c', 'internal')
         OR p.prosrc ~* '\m(create|alter|drop|execute|grant|revoke|reassign|call)\M|\m(comment\s+on|security\s+label|import\s+foreign|refresh\s+mat|do\s*(\$|''|language))')
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname <> 'pg_catalog';
-- Some function that did not come with an extension may change the schema, as far as its body tells.
SELECT DISTINCT 'odd', 'schema'
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.provolatile = 'v'
  AND (l.lanname NOT IN ('sql', 'plpgsql', 'c', 'internal')
       OR p.prosrc ~* '\m(create|alter|drop|execute|grant|revoke|reassign|call)\M|\m(comment\s+on|security\s+label|import\s+foreign|refresh\s+mat|do\s*(\$|''|language))')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
                    AND d.deptype = 'e');
SELECT DISTINCT 'operator', o.oprname, p.provolatile
FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
WHERE o.oprnamespace <> 'pg_catalog'::pg_catalog.regnamespace
   OR p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace;
-- Types whose values are read and written by functions that are not volatile; not those whose
-- values name objects, and of a domain's constraint nothing is known.
SELECT 'type', n.nspname, t.typname,
       CASE t.typtype WHEN 'e' THEN true
            WHEN 'd' THEN NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.contypid = t.oid)
                 AND EXISTS (SELECT FROM pg_catalog.pg_type b WHERE b.oid = t.typbasetype
                   AND b.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND b.typname !~ '^reg')
            WHEN 'c' THEN false
            WHEN 'p' THEN false
            ELSE (n.nspname <> 'pg_catalog' OR t.typname !~ '^reg')
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc p
                   WHERE p.oid IN (t.typinput, t.typoutput) AND p.provolatile = 'v') END
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname !~ '^pg_(temp|toast)' AND t.typelem = 0
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c');
SELECT DISTINCT 'odd', 'cast'
FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
WHERE p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace AND p.provolatile <> 'i';
COMMIT
