// Before the first paint: the colours that were chosen here. Without a choice those of the system hold.
try {
  const t = localStorage.getItem('theme');
  if (t === 'dark' || t === 'light') document.documentElement.dataset.theme = t;
} catch { /* storage may be off */ }
