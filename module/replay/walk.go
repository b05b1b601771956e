package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// walk reads every path in turn.
func (r *run) walk(paths []string) error {
	r.several = len(paths) > 1
	for _, p := range paths {
		if p == "-" {
			continue
		}
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		r.several = r.several || info.IsDir()
	}
	for _, p := range paths {
		if err := r.walkPath(p); err != nil {
			return err
		}
	}
	return nil
}

// walkPath reads a file, or every regular file below a directory. A file named by the
// operator may be anything that can be read, a pipe too.
func (r *run) walkPath(p string) error {
	if p == "-" {
		return r.readPipe("standard input", r.opt.Stdin, time.Now())
	}
	info, err := os.Stat(p)
	if err != nil || !info.IsDir() {
		return r.readFile(p, info, err)
	}
	p += "/" // follows a link to a directory that the operator names
	return filepath.WalkDir(p, func(name string, d fs.DirEntry, err error) error {
		switch maildir := isMaildir(filepath.Dir(name)); {
		case err != nil:
			return r.readFile(name, nil, err)
		case d.IsDir() && maildir && d.Name() == "tmp" && name != p:
			return fs.SkipDir
		case !d.Type().IsRegular() || maildir: // beside cur and new are indexes, not mail
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // moved from new to cur, or expunged, meanwhile
		}
		return r.readFile(name, info, err)
	})
}

func isMaildir(dir string) bool {
	for _, sub := range []string{"cur", "new"} {
		if info, err := os.Stat(filepath.Join(dir, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// readFile reads one named file, unless err says why it cannot be read.
func (r *run) readFile(name string, info fs.FileInfo, err error) error {
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(name)
	}
	if err != nil {
		r.st.Inputs++
		r.fault(name, err, false)
		return nil
	}
	defer f.Close()
	if info.Mode().IsRegular() {
		return r.readInput(name, f, info.ModTime())
	}
	return r.readPipe(name, f, info.ModTime())
}

// readPipe reads what may keep a reader waiting for ever: the read goes on in
// a goroutine, so that the end of the context is noticed at once. That
// goroutine ends with the next byte or the end of in.
func (r *run) readPipe(name string, in io.Reader, at time.Time) error {
	pr, pw := io.Pipe()
	defer func() { _ = pr.Close() }()
	stop := context.AfterFunc(r.ctx, func() { pr.CloseWithError(r.ctx.Err()) })
	defer stop()
	go func() {
		_, err := io.Copy(pw, in)
		pw.CloseWithError(err)
	}()
	return r.readInput(name, pr, at)
}
